package kappa.log;

import java.util.Collection;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;

/**
 * Emits each event of a partition once and in order of time, as the partition's clock passes it.
 *
 * <p>A row that happened at or before the partition's watermark is late, or has no time: it is emitted as it comes. So
 * is one that claims to happen too far ahead of the log's clock, as it would be held for too long, if not for ever.
 * Any other is held until the watermark reaches it, unless a row of its identity and time is held already. All that
 * repeats an event and is not late comes while that event is held: so what is held is all there is to remember.
 *
 * <p>A checkpoint has no rows, only offsets: see {@link LogSplit#heldFrom}.
 */
final class OnceEmitter implements RecordEmitter<ConsumerRecord<byte[], byte[]>, RowData, KafkaPartitionSplitState> {

    private final RowDeserializer rows;
    private final LogClock clock;
    private final Once once;
    private final Once.Time time;
    private final Taker taker = new Taker();

    OnceEmitter(RowDeserializer rows, LogClock clock, Once once, Once.Time time) {
        this.rows = rows;
        this.clock = clock;
        this.once = once;
        this.time = time;
    }

    @Override
    public void emitRecord(
            ConsumerRecord<byte[], byte[]> record, SourceOutput<RowData> output, KafkaPartitionSplitState state)
            throws Exception {
        LogSplitState partition = (LogSplitState) state;
        if (record instanceof Passed) {
            partition.setCurrentOffset(record.offset());
            return;
        }
        if (record instanceof EndOfLog end) {
            // The end is kept in the state, for rows are released by it: no later record has an earlier timestamp.
            partition.advanceAtEnd(clock.timestampAtEnd(end.askedAt()));
        } else {
            partition.advance(record.timestamp());
            take(record, output, partition);
        }
        release(partition, clock.after(partition.clock()).getTimestamp(), output);
    }

    private void take(ConsumerRecord<byte[], byte[]> record, SourceOutput<RowData> output, LogSplitState partition)
            throws Exception {
        taker.output = output;
        taker.partition = partition;
        taker.record = record;
        taker.watermark = clock.after(partition.clock()).getTimestamp();
        taker.latest = once.latest(partition.logClock());
        taker.isRead = record.offset() < partition.getCurrentOffset();
        rows.setClock(partition.logClock());
        rows.deserialize(record, taker);
        partition.setCurrentOffset(record.offset() + 1);
    }

    /** Emits what is held of that time and before. */
    static void release(LogSplitState partition, long upTo, SourceOutput<RowData> output) {
        Collection<HeldRows.Held> rows;
        while (!(rows = partition.held().releaseUpTo(upTo)).isEmpty()) {
            rows.forEach(held -> output.collect(held.row(), held.timestamp()));
        }
    }

    private final class Taker implements Collector<RowData> {

        private SourceOutput<RowData> output;
        private LogSplitState partition;
        private ConsumerRecord<byte[], byte[]> record;
        private long watermark;
        private long latest;
        private boolean isRead;

        @Override
        public void collect(RowData row) {
            Long happened = timeOf(row);
            if (happened != null && happened > watermark && happened <= latest) {
                HeldRows.Held held = new HeldRows.Held(
                                row, record.offset(), record.timestamp(), partition.logClock());
                partition.held().hold(happened, once.identityOf(row), held);
            } else if (!isRead) { // what was read before a restart and is not held was emitted
                output.collect(row, record.timestamp());
            }
        }

        private Long timeOf(RowData row) {
            try {
                return time.of(row);
            } catch (Exception e) {
                throw new IllegalStateException(
                        String.format(
                                "The time of %s-%d offset %d cannot be computed",
                                record.topic(), record.partition(), record.offset()),
                        e);
            }
        }

        @Override
        public void close() {}
    }
}
