package kappa.log;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.reader.KafkaSourceReader;
import org.apache.flink.connector.kafka.source.reader.fetcher.KafkaSourceFetcherManager;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.RowData;

/**
 * The connector's reader, which begins a restored partition with the watermark that the last record read from it left.
 *
 * <p>Flink restores no watermark. Without this a partition to which nothing is added any more has none after a restart,
 * and holds back every window and join behind it.
 */
final class LogSourceReader extends KafkaSourceReader<RowData> {

    private static final int SOME_RECORDS = 1_000;
    private static final long WATERMARK_INTERVAL = 200_000_000; // ns; Flink's own default

    private final LogClock clock;
    private final boolean once;
    private final Map<String, Long> restored = new LinkedHashMap<>();
    private final Map<String, LogSplitState> partitions = new LinkedHashMap<>();
    private final List<LogSplitState> finished = new ArrayList<>();
    private long polled;
    private long emittedAt = System.nanoTime();
    private final AtomicBoolean caughtUp;
    private boolean told;

    LogSourceReader(
            KafkaSourceFetcherManager fetchers,
            RecordEmitter<ConsumerRecord<byte[], byte[]>, RowData, KafkaPartitionSplitState> emitter,
            Configuration configuration,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            LogClock clock,
            AtomicBoolean caughtUp) {
        super(new FutureCompletingBlockingQueue<>(), fetchers, emitter, configuration, context, metrics);
        this.clock = clock;
        this.once = emitter instanceof OnceEmitter;
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
        InputStatus status = super.pollNext(output);
        if (once) {
            for (LogSplitState partition : finished) {
                OnceEmitter.release(partition, Long.MAX_VALUE, output.createOutputForSplit(partition.splitId()));
                output.releaseOutputForSplit(partition.splitId());
            }
            finished.clear();
            // Before the task waits for records, or it would have no reason to look at the time again.
            if (status == InputStatus.NOTHING_AVAILABLE || (++polled % SOME_RECORDS == 0 && isTime())) {
                emitWatermarks(output);
            }
        }
        return status;
    }

    private boolean isTime() {
        return System.nanoTime() - emittedAt >= WATERMARK_INTERVAL;
    }

    /** Below what is held: which no generator of watermarks knows, as it sees rows when they are released. */
    private void emitWatermarks(ReaderOutput<RowData> output) {
        emittedAt = System.nanoTime();
        partitions.forEach(
                (id, partition) -> {
                    if (partition.clock() != LogSplit.NO_CLOCK) {
                        output.createOutputForSplit(id).emitWatermark(clock.after(partition.clock()));
                    }
                });
    }

    @Override
    protected void onSplitFinished(Map<String, KafkaPartitionSplitState> states) {
        super.onSplitFinished(states);
        states.keySet().forEach(id -> finished.add(partitions.remove(id)));
    }

    @Override
    protected KafkaPartitionSplitState initializedState(KafkaPartitionSplit split) {
        LogSplitState partition = new LogSplitState(split);
        partitions.put(split.splitId(), partition);
        return partition;
    }
}
