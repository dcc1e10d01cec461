package kappa.log;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.kafka.source.reader.fetcher.KafkaSourceFetcherManager;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetCommitCallback;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Reads a restored partition from the first record that was held, and signs the offsets that it commits. */
class LogFetcherManager extends KafkaSourceFetcherManager {

    private String signature = "";

    LogFetcherManager(Supplier<SplitReader<ConsumerRecord<byte[], byte[]>, KafkaPartitionSplit>> reader) {
        super(new FutureCompletingBlockingQueue<>(), reader, finished -> {});
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        super.addSplits(splits.stream().map(LogSplit::fromFirstHeld).toList());
    }

    /**
     * What the offsets are committed with. Committed offsets are for people's eyes: nothing depends on them. But who sets
     * them by hand does not sign, and so can be told from the job.
     */
    void sign(String job, long checkpoint) {
        // The zero ends it for librdkafka, which hands such strings to C without one, and reads on behind them.
        signature = String.format("kappa job %s checkpoint %d\0", job, checkpoint);
    }

    @Override
    public void commitOffsets(Map<TopicPartition, OffsetAndMetadata> offsets, OffsetCommitCallback callback) {
        Map<TopicPartition, OffsetAndMetadata> signed = new HashMap<>();
        offsets.forEach((partition, offset) -> signed.put(partition, new OffsetAndMetadata(offset.offset(), signature)));
        commit(signed, callback);
    }

    void commit(Map<TopicPartition, OffsetAndMetadata> offsets, OffsetCommitCallback callback) {
        super.commitOffsets(offsets, callback);
    }
}
