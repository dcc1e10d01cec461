package kappa.log;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.reader.KafkaSourceReader;
import org.apache.flink.connector.kafka.source.reader.fetcher.KafkaSourceFetcherManager;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.table.data.RowData;

/**
 * The connector's reader, which begins a restored partition with the watermark that the last record read from it left.
 *
 * <p>Flink restores no watermark. Without this a partition to which nothing is added any more has none after a restart,
 * and holds back every window and join behind it.
 */
final class LogSourceReader extends KafkaSourceReader<RowData> {

    private final LogClock clock;
    private final Map<String, Long> restored = new LinkedHashMap<>();
    private final AtomicBoolean caughtUp;
    private boolean told;

    LogSourceReader(
            KafkaSourceFetcherManager fetchers,
            LogRecordEmitter emitter,
            Configuration configuration,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            LogClock clock,
            AtomicBoolean caughtUp) {
        super(new FutureCompletingBlockingQueue<>(), fetchers, emitter, configuration, context, metrics);
        this.clock = clock;
        this.caughtUp = caughtUp;
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        super.addSplits(splits);
        for (KafkaPartitionSplit split : splits) {
            if (LogSplit.clockOf(split) != LogSplit.NO_CLOCK) {
                restored.put(split.splitId(), LogSplit.clockOf(split));
            }
        }
        // There may be no record to wake the task for.
        splitFetcherManager.getQueue().notifyAvailable();
    }

    @Override
    public InputStatus pollNext(ReaderOutput<RowData> output) throws Exception {
        if (!restored.isEmpty()) {
            restored.forEach((split, at) -> output.createOutputForSplit(split).emitWatermark(clock.after(at)));
            restored.clear();
        }
        if (!told && caughtUp.get()) {
            told = true;
            context.sendSourceEventToCoordinator(new CaughtUp());
        }
        return super.pollNext(output);
    }

    @Override
    protected KafkaPartitionSplitState initializedState(KafkaPartitionSplit split) {
        return new LogSplitState(split);
    }
}
