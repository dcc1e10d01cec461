package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Travels among the records of a partition and is none: what it says is true of the place where it stands. */
abstract class Mark extends ConsumerRecord<byte[], byte[]> {

    Mark(TopicPartition partition, long offset) {
        super(partition.topic(), partition.partition(), offset, null, null);
    }

    String splitId() {
        return KafkaPartitionSplit.toSplitId(new TopicPartition(topic(), partition()));
    }
}
