package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static kappa.log.Fixtures.AN_HOUR_BY_THE_BROKER;
import static kappa.log.Fixtures.HOUR;
import static kappa.log.Fixtures.MINUTE;
import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.from;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import kappa.log.Fixtures.Notes;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.base.source.reader.RecordsBySplits;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsChange;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetCommitCallback;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.metrics.groups.SourceReaderMetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class LogSourceReaderTest {

    private static final long NOON = 12 * HOUR;

    private final Broker broker = new Broker();
    private final Notes output = new Notes();
    private final Context context = new Context();
    private final AtomicBoolean caughtUp = new AtomicBoolean();
    private boolean watermarks = true;

    @Test
    void itTellsOnceThatItHasCaughtUp() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET)));
            reader.pollNext(output);
            assertEquals(List.of(), context.sent);
            caughtUp.set(true);
            reader.pollNext(output);
            reader.pollNext(output);
            assertEquals(List.of(new CaughtUp()), context.sent);
        }
    }

    @Test
    void aRestoredPartitionBeginsWithTheWatermarkOfItsLastRecordAndWithNoRow() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(new LogSplit(from(ZERO, 7), NOON, NOON, 7), new LogSplit(from(ONE, 3), NOON + 5, NOON + 5, 3)));
            reader.isAvailable().get();
            assertEquals(InputStatus.NOTHING_AVAILABLE, reader.pollNext(output));
            assertEquals(
                    Set.of("log-0: watermark " + (NOON - HOUR - 2), "log-1: watermark " + (NOON + 5 - HOUR - 2)),
                    Set.copyOf(output.taken));
            assertEquals(2, output.taken.size());
        }
    }

    @Test
    void aPartitionThatWasNeverReadHasNoWatermark() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            KafkaPartitionSplit never = from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET);
            reader.addSplits(List.of(new LogSplit(never, LogSplit.NO_CLOCK, LogSplit.NO_CLOCK, never.getStartingOffset()), from(ONE, 4)));
            reader.pollNext(output);
            assertEquals(List.of(), output.taken);
        }
    }

    @Test
    void aSecondRestoreBeforeReadingOnIsTheSameAsTheFirst() throws Exception {
        List<KafkaPartitionSplit> kept;
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(new LogSplit(from(ZERO, 7), NOON, NOON, 7)));
            reader.pollNext(output);
            kept = reader.snapshotState(1);
        }
        assertEquals(List.of(from(ZERO, 7)), kept);
        try (LogSourceReader reader = reader(AN_HOUR)) {
            Notes again = new Notes();
            reader.addSplits(kept);
            reader.pollNext(again);
            broker.answers(records(record(ZERO, 7, NOON + MINUTE, "seven")));
            pollUntil(reader, again, 2);
            String restored = "log-0: watermark " + (NOON - HOUR - 2);
            assertEquals(List.of(restored), output.taken);
            assertEquals(List.of(restored, "log-0: seven @ " + (NOON + MINUTE)), again.taken.subList(0, 2));
        }
    }

    @Test
    void theClockIsThatOfTheLatestRecordAndNeverGoesBack() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET)));
            broker.answers(records(record(ZERO, 0, NOON, "a"), record(ZERO, 1, NOON - MINUTE, "b")));
            pollUntil(reader, 2);
            KafkaPartitionSplit kept = reader.snapshotState(1).get(0);
            assertEquals(from(ZERO, 2), kept);
            assertEquals(NOON, LogSplit.clockOf(kept));
        }
    }

    @Test
    void atTheEndOfThePartitionsTheClockGoesOnBehindTheRecords() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR_BY_THE_BROKER)) {
            reader.addSplits(List.of(from(ZERO, 0), from(ONE, KafkaPartitionSplit.EARLIEST_OFFSET)));
            long askedAt = NOON + 10 * MINUTE;
            List<EndOfLog> ends = List.of(new EndOfLog(ZERO, 1, askedAt), new EndOfLog(ONE, 0, askedAt));
            broker.answers(new RecordsThenMarks(records(record(ZERO, 0, NOON, "a")), ends));
            pollUntil(reader, 3);
            String atEnd = "watermark " + (askedAt - MINUTE - HOUR - 2);
            assertEquals(List.of("log-0: a @ " + NOON, "log-0: " + atEnd, "log-1: " + atEnd), output.taken);
            List<KafkaPartitionSplit> kept = reader.snapshotState(1);
            assertTrue(kept.containsAll(List.of(from(ZERO, 1), from(ONE, KafkaPartitionSplit.EARLIEST_OFFSET))));
            assertEquals(
                    Set.of(NOON, LogSplit.NO_CLOCK), Set.copyOf(kept.stream().map(LogSplit::clockOf).toList()));
        }
    }

    @Test
    void anEndWithoutAnyRecordIsSeenToo() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR_BY_THE_BROKER)) {
            reader.addSplits(List.of(from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET)));
            broker.answers(new RecordsThenMarks(records(), List.of(new EndOfLog(ZERO, 0, NOON))));
            pollUntil(reader, 1);
            assertEquals(List.of("log-0: watermark " + (NOON - MINUTE - HOUR - 2)), output.taken);
        }
    }

    @Test
    void aPositionIsCoveredOnceTheWatermarkOfItsRecordsIsEmitted() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(from(ZERO, 0), from(ONE, KafkaPartitionSplit.EARLIEST_OFFSET)));
            broker.answers(
                    new RecordsThenMarks(
                            records(record(ZERO, 0, NOON, "a"), record(ZERO, 1, NOON, "b")), List.of(new Passed(ZERO, 5))));
            pollUntil(reader, 2);
            assertEquals(Map.of(ZERO, new Stand(0, 2), ONE, new Stand(0, 0)), stands(reader, 1));
            assertEquals(List.of("log-0: a @ " + NOON, "log-0: b @ " + NOON), output.taken);
            pollUntil(reader, 3);
            assertEquals("log-0: watermark " + (NOON - HOUR - 2), output.taken.get(2));
            // Three offsets without a record behind the last one, and the checkpoint is behind them too.
            assertEquals(Map.of(ZERO, new Stand(5, 5), ONE, new Stand(0, 0)), stands(reader, 2));
            assertTrue(reader.snapshotState(3).contains(from(ZERO, 5)));
        }
    }

    @Test
    void aTableWithoutAWatermarkHasNoneAndPositionsAllTheSame() throws Exception {
        watermarks = false;
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(from(ZERO, 0)));
            broker.answers(records(record(ZERO, 0, NOON, "a")));
            pollUntil(reader, 1);
            while (stands(reader, 1).get(ZERO).covered() == 0) {
                reader.pollNext(output);
            }
            assertEquals(List.of("log-0: a @ " + NOON), output.taken);
        }
    }

    @Test
    void aReaderThatHasReadAllItsPartitionsSaysSoOnce() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(new KafkaPartitionSplit(ZERO, 0, 1)));
            reader.snapshotState(4);
            reader.notifyNoMoreSplits();
            broker.answers(records(Set.of("log-0"), record(ZERO, 0, NOON, "a")));
            while (reader.pollNext(output) != InputStatus.END_OF_INPUT) {
                reader.isAvailable().get();
            }
            assertEquals(new Ended(4), context.sent.get(context.sent.size() - 1));
            assertEquals(Map.of(), stands(reader, 5));
            assertEquals(InputStatus.END_OF_INPUT, reader.pollNext(output));
            assertEquals(1, context.sent.stream().filter(Ended.class::isInstance).count());
        }
    }

    @Test
    void committedOffsetsAreSigned() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(from(ZERO, 7)));
            reader.pollNext(output);
            reader.snapshotState(3);
            reader.notifyCheckpointComplete(3);
            String signed = broker.committed.take();
            assertEquals("log-0: 7 kappa job  checkpoint 3\0", signed); // the job has no id in this test
        }
    }

    @Test
    void aRestoredBoundedPartitionFinishes() throws Exception {
        try (LogSourceReader reader = reader(AN_HOUR)) {
            reader.addSplits(List.of(new LogSplit(new KafkaPartitionSplit(ZERO, 7, 8), NOON, NOON, 7)));
            reader.notifyNoMoreSplits();
            broker.answers(records(Set.of("log-0"), record(ZERO, 7, NOON, "last")));
            InputStatus status;
            do {
                reader.isAvailable().get();
                status = reader.pollNext(output);
            } while (status != InputStatus.END_OF_INPUT);
            assertEquals(
                    List.of("log-0: watermark " + (NOON - HOUR - 2), "log-0: last @ " + NOON, "log-0: finished"),
                    output.taken);
        }
    }

    @Test
    void ofEventsReadOnceTheWatermarkComesBehindTheRowsBeforeItWaits() throws Exception {
        try (LogSourceReader reader = readerOfOnce()) {
            reader.addSplits(List.of(from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET)));
            broker.answers(
                    records(record(ZERO, 0, NOON, "a " + NOON), record(ZERO, 1, NOON + 2 * HOUR, "b " + (NOON + 2 * HOUR))));
            pollUntil(reader, 2);
            assertEquals(
                    List.of("log-0: a " + NOON + " @ " + NOON, "log-0: watermark " + (NOON + HOUR - 2)),
                    output.taken.subList(0, 2));
        }
    }

    @Test
    void whatIsHeldIsReadAgainAfterARestartAndWhatWasEmittedIsNot() throws Exception {
        try (LogSourceReader reader = readerOfOnce()) {
            reader.addSplits(List.of(new LogSplit(from(ZERO, 3), NOON + HOUR, NOON + HOUR, 1)));
            broker.answers(
                    records(
                            record(ZERO, 1, NOON, "held " + NOON),
                            record(ZERO, 2, NOON + HOUR, "late " + (NOON - 1)),
                            record(ZERO, 3, NOON + 2 * HOUR, null)));
            String restored = "log-0: watermark " + (NOON - 2);
            String held = "log-0: held " + NOON + " @ " + NOON;
            while (!output.taken.contains(held)) {
                reader.isAvailable().get();
                reader.pollNext(output);
            }
            assertEquals(
                    List.of(restored, "log-0: null @ " + (NOON + 2 * HOUR), held),
                    output.taken.stream().distinct().limit(3).toList());
            assertEquals(from(ZERO, 1), broker.added.get(0));
        }
    }

    @Test
    void atTheEndOfABoundedPartitionNothingIsHeldAnyMore() throws Exception {
        try (LogSourceReader reader = readerOfOnce()) {
            reader.addSplits(List.of(new KafkaPartitionSplit(ZERO, 0, 1)));
            reader.notifyNoMoreSplits();
            broker.answers(records(Set.of("log-0"), record(ZERO, 0, NOON, "a " + NOON)));
            InputStatus status;
            do {
                reader.isAvailable().get();
                status = reader.pollNext(output);
            } while (status != InputStatus.END_OF_INPUT);
            List<String> rows = output.taken.stream().filter(noted -> noted.contains("@")).toList();
            assertEquals(List.of("log-0: a " + NOON + " @ " + NOON), rows);
            assertEquals("log-0: finished", output.taken.get(output.taken.size() - 1));
        }
    }

    private void pollUntil(LogSourceReader reader, int taken) throws Exception {
        pollUntil(reader, output, taken);
    }

    private static void pollUntil(LogSourceReader reader, Notes output, int taken) throws Exception {
        while (output.taken.size() < taken) {
            reader.isAvailable().get();
            reader.pollNext(output);
        }
    }

    private Map<TopicPartition, Stand> stands(LogSourceReader reader, long checkpoint) {
        reader.snapshotState(checkpoint);
        Positions told = (Positions) context.sent.get(context.sent.size() - 1);
        assertEquals(checkpoint, told.checkpoint());
        return told.stands();
    }

    private LogSourceReader readerOfOnce() throws Exception {
        return reader(AN_HOUR, new OnceEmitter(Fixtures.rows(), AN_HOUR, Fixtures.once(), Fixtures::timeOf));
    }

    private LogSourceReader reader(LogClock clock) throws Exception {
        return reader(clock, new LogRecordEmitter(Fixtures.rows(), clock));
    }

    private LogSourceReader reader(
            LogClock clock,
            RecordEmitter<ConsumerRecord<byte[], byte[]>, RowData, KafkaPartitionSplitState> emitter) {
        return new LogSourceReader(
                new LogFetcherManager(() -> broker) {
                    @Override
                    void commit(Map<TopicPartition, OffsetAndMetadata> offsets, OffsetCommitCallback callback) {
                        offsets.forEach((p, o) -> broker.committed.add(p + ": " + o.offset() + " " + o.metadata()));
                    }
                },
                emitter,
                new Configuration(),
                context,
                new KafkaSourceReaderMetrics(context.metricGroup()),
                clock,
                watermarks,
                caughtUp);
    }

    @SafeVarargs
    private static RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records(
            ConsumerRecord<byte[], byte[]>... records) {
        return records(Set.of(), records);
    }

    @SafeVarargs
    private static RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records(
            Collection<String> finished, ConsumerRecord<byte[], byte[]>... records) {
        RecordsBySplits.Builder<ConsumerRecord<byte[], byte[]>> batch = new RecordsBySplits.Builder<>();
        Arrays.stream(records).forEach(record -> batch.add("log-" + record.partition(), record));
        batch.addFinishedSplits(finished);
        return batch.build();
    }

    /** Answers what it is told to, and nothing otherwise. */
    private static final class Broker implements SplitReader<ConsumerRecord<byte[], byte[]>, KafkaPartitionSplit> {

        private final List<KafkaPartitionSplit> added = new CopyOnWriteArrayList<>();
        private final BlockingQueue<RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>>> answers =
                new LinkedBlockingQueue<>();

        private final BlockingQueue<String> committed = new LinkedBlockingQueue<>();

        void answers(RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> batch) {
            answers.add(batch);
        }

        @Override
        public RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> fetch() {
            try {
                RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> batch = answers.poll(20, TimeUnit.MILLISECONDS);
                return batch == null ? records() : batch;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return records();
            }
        }

        @Override
        public void handleSplitsChanges(SplitsChange<KafkaPartitionSplit> change) {
            added.addAll(change.splits());
        }

        @Override
        public void wakeUp() {}

        @Override
        public void close() {}
    }

    private static final class Context implements SourceReaderContext {

        private final SourceReaderMetricGroup metrics = UnregisteredMetricsGroup.createSourceReaderMetricGroup();
        private final List<SourceEvent> sent = new ArrayList<>();

        @Override
        public SourceReaderMetricGroup metricGroup() {
            return metrics;
        }

        @Override
        public Configuration getConfiguration() {
            return new Configuration();
        }

        @Override
        public String getLocalHostName() {
            return "localhost";
        }

        @Override
        public int getIndexOfSubtask() {
            return 0;
        }

        @Override
        public void sendSplitRequest() {}

        @Override
        public void sendSourceEventToCoordinator(SourceEvent event) {
            sent.add(event);
        }

        @Override
        public UserCodeClassLoader getUserCodeClassLoader() {
            return SimpleUserCodeClassLoader.create(getClass().getClassLoader());
        }
    }
}
