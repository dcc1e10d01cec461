package kappa.log;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.base.source.reader.synchronization.FutureCompletingBlockingQueue;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.reader.KafkaSourceReader;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.RowData;

/**
 * The connector's reader, which emits the watermarks of its partitions itself and says at each checkpoint where it stands.
 *
 * <p>It begins a restored partition with the watermark that the last record read from it left: Flink restores none.
 * Without this a partition to which nothing is added any more has none after a restart, and holds back every window and
 * join behind it. And only who emits a watermark knows whether that was before a checkpoint's barrier: see {@link Stand}.
 */
final class LogSourceReader extends KafkaSourceReader<RowData> {

    private static final int SOME_RECORDS = 1_000;
    private static final long WATERMARK_INTERVAL = 200_000_000; // ns; Flink's own default

    private final LogFetcherManager fetchers;
    private final LogClock clock;
    private final boolean watermarks;
    private final Map<String, LogSplitState> partitions = new LinkedHashMap<>();
    private final Set<String> restored = new LinkedHashSet<>();
    private final List<LogSplitState> finished = new ArrayList<>();
    private final AtomicBoolean caughtUp;
    private final String job;
    private long polled;
    private long emittedAt = System.nanoTime();
    private long lastCheckpoint = Long.MIN_VALUE;
    private boolean toldCaughtUp;
    private boolean toldEnded;

    /** @param watermarks whether the table has any */
    LogSourceReader(
            LogFetcherManager fetchers,
            RecordEmitter<ConsumerRecord<byte[], byte[]>, RowData, KafkaPartitionSplitState> emitter,
            Configuration configuration,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            LogClock clock,
            boolean watermarks,
            AtomicBoolean caughtUp) {
        super(new FutureCompletingBlockingQueue<>(), fetchers, emitter, configuration, context, metrics);
        this.fetchers = fetchers;
        this.clock = clock;
        this.watermarks = watermarks;
        this.caughtUp = caughtUp;
        this.job = context.metricGroup().getAllVariables().getOrDefault("<job_id>", "");
    }

    @Override
    public void addSplits(List<KafkaPartitionSplit> splits) {
        super.addSplits(splits);
        splits.stream()
                .filter(split -> LogSplit.clockOf(split) != LogSplit.NO_CLOCK)
                .forEach(split -> restored.add(split.splitId()));
        // There may be no record to wake the task for.
        splitFetcherManager.getQueue().notifyAvailable();
    }

    @Override
    public InputStatus pollNext(ReaderOutput<RowData> output) throws Exception {
        if (!restored.isEmpty()) {
            restored.forEach(id -> emitWatermark(id, partitions.get(id), output));
            restored.clear();
        }
        if (!toldCaughtUp && caughtUp.get()) {
            toldCaughtUp = true;
            context.sendSourceEventToCoordinator(new CaughtUp());
        }
        InputStatus status = super.pollNext(output);
        finish(output);
        // Before the task waits for records, or it would have no reason to look at the time again.
        if (status == InputStatus.NOTHING_AVAILABLE || (++polled % SOME_RECORDS == 0 && isTime())) {
            emittedAt = System.nanoTime();
            partitions.forEach((id, partition) -> emitWatermark(id, partition, output));
        }
        if (status == InputStatus.END_OF_INPUT && !toldEnded) {
            toldEnded = true;
            context.sendSourceEventToCoordinator(new Ended(lastCheckpoint));
        }
        return status;
    }

    private boolean isTime() {
        return System.nanoTime() - emittedAt >= WATERMARK_INTERVAL;
    }

    /** Below what is held: which no generator of watermarks knows, as it sees rows when they are released. */
    private void emitWatermark(String id, LogSplitState partition, ReaderOutput<RowData> output) {
        if (watermarks && partition.clock() != LogSplit.NO_CLOCK) {
            output.createOutputForSplit(id).emitWatermark(clock.emittedAfter(partition.clock()));
        }
        partition.settle();
    }

    /** Emits what is still held of partitions that were read to their bounds. */
    private void finish(ReaderOutput<RowData> output) {
        for (LogSplitState partition : finished) {
            if (!partition.held().isEmpty()) {
                OnceEmitter.release(partition, Long.MAX_VALUE, output.createOutputForSplit(partition.splitId()));
                output.releaseOutputForSplit(partition.splitId());
            }
        }
        finished.clear();
    }

    @Override
    public List<KafkaPartitionSplit> snapshotState(long checkpoint) {
        lastCheckpoint = checkpoint;
        Map<TopicPartition, Stand> stands = new HashMap<>();
        partitions.values().forEach(partition -> stands.put(partition.getTopicPartition(), partition.stand()));
        // Before the checkpoint is acknowledged, so that the enumerator knows it when the checkpoint completes.
        context.sendSourceEventToCoordinator(new Positions(checkpoint, stands));
        return super.snapshotState(checkpoint);
    }

    @Override
    public void notifyCheckpointComplete(long checkpoint) throws Exception {
        fetchers.sign(job, checkpoint);
        super.notifyCheckpointComplete(checkpoint);
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
