package kappa.log;

import java.util.List;
import java.util.function.Supplier;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.kafka.source.reader.fetcher.KafkaSourceFetcherManager;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;

/** Reads a restored partition from the first record that was held. */
final class LogFetcherManager extends KafkaSourceFetcherManager {

    LogFetcherManager(Supplier<SplitReader<ConsumerRecord<byte[], byte[]>, KafkaPartitionSplit>> reader) {
        super(new FutureCompletingBlockingQueue<>(), reader, finished -> {});
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        super.addSplits(splits.stream().map(LogSplit::fromFirstHeld).toList());
    }
}
