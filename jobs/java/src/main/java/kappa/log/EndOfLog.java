package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Travels among the records of a partition: all before it are what the partition held when the broker was asked. */
final class EndOfLog extends ConsumerRecord<byte[], byte[]> {

    private final long askedAt;

    EndOfLog(TopicPartition partition, long end, long askedAt) {
        super(partition.topic(), partition.partition(), end, null, null);
        this.askedAt = askedAt;
    }

    /** Milliseconds since the epoch, by the TaskManager's clock, before the broker was asked. */
    long askedAt() {
        return askedAt;
    }

    String splitId() {
        return KafkaPartitionSplit.toSplitId(new TopicPartition(topic(), partition()));
    }
}
