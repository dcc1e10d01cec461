package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static kappa.log.Fixtures.AN_HOUR_BY_THE_BROKER;
import static kappa.log.Fixtures.HOUR;
import static kappa.log.Fixtures.MINUTE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.from;
import static kappa.log.Fixtures.once;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import kappa.log.Fixtures.Notes;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.RowData;
import org.junit.jupiter.api.Test;

class OnceEmitterTest {

    private static final long NOON = 12 * HOUR;

    private final Notes output = new Notes();
    private LogSplitState state = new LogSplitState(from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET));

    @Test
    void aRowWaitsUntilTheClockHasPassedItByTheAllowedLateness() throws Exception {
        emit(record(ZERO, 0, NOON, "a " + NOON), record(ZERO, 1, NOON + HOUR, "b " + (NOON + HOUR)));
        assertEquals(List.of(), output.taken); // what happened at NOON may still come, with this very timestamp
        emit(record(ZERO, 2, NOON + HOUR + 1, "c " + (NOON + HOUR)));
        assertEquals(List.of("a " + NOON + " @ " + NOON), output.taken);
    }

    @Test
    void rowsComeInOrderOfTimeAndThoseOfOneTimeInOrderOfTheLog() throws Exception {
        emit(
                record(ZERO, 0, NOON, "b " + (NOON - 1)),
                record(ZERO, 1, NOON, "a " + (NOON - 2)),
                record(ZERO, 2, NOON, "a " + (NOON - 1)),
                record(ZERO, 3, NOON + 2 * HOUR, null));
        assertEquals(List.of("null", "a " + (NOON - 2), "b " + (NOON - 1), "a " + (NOON - 1)), rows());
    }

    @Test
    void ofARepeatedEventTheFirstIsEmitted() throws Exception {
        emit(
                record(ZERO, 0, NOON, "a " + NOON),
                record(ZERO, 1, NOON + MINUTE, "a " + NOON),
                record(ZERO, 2, NOON + HOUR, "a " + NOON), // as late as it may be
                record(ZERO, 3, NOON + 2 * HOUR, null));
        assertEquals(List.of("null @ " + (NOON + 2 * HOUR), "a " + NOON + " @ " + NOON), output.taken);
    }

    @Test
    void anEventOfAnotherTimeIsAnother() throws Exception {
        emit(
                record(ZERO, 0, NOON, "a " + NOON),
                record(ZERO, 1, NOON, "a " + (NOON + 1)),
                record(ZERO, 2, NOON + 2 * HOUR, null));
        assertEquals(List.of("null", "a " + NOON, "a " + (NOON + 1)), rows());
    }

    @Test
    void whatIsLateOrHasNoTimeIsEmittedAsItComes() throws Exception {
        emit(
                record(ZERO, 0, NOON, "a " + NOON),
                record(ZERO, 1, NOON, null),
                record(ZERO, 2, NOON, "late " + (NOON - HOUR - 1)),
                record(ZERO, 3, NOON, "late " + (NOON - HOUR - 1)));
        assertEquals(List.of("null", "late " + (NOON - HOUR - 1), "late " + (NOON - HOUR - 1)), rows());
    }

    @Test
    void whatClaimsToHappenTooFarAheadIsEmittedAsItComes() throws Exception {
        Once upToAnHour = new Once(new int[] {0}, null, Duration.ofHours(1));
        OnceEmitter emitter = new OnceEmitter(Fixtures.rows(), AN_HOUR, upToAnHour, Fixtures::timeOf);
        emitter.emitRecord(record(ZERO, 0, NOON, "a " + (NOON + HOUR)), output, state);
        emitter.emitRecord(record(ZERO, 1, NOON, "ahead " + (NOON + HOUR + 1)), output, state);
        emitter.emitRecord(record(ZERO, 2, NOON, "never " + Long.MAX_VALUE), output, state);
        emitter.emitRecord(record(ZERO, 3, NOON - HOUR, "b " + (NOON + HOUR)), output, state); // by the clock, not by its own
        assertEquals(List.of("ahead " + (NOON + HOUR + 1), "never " + Long.MAX_VALUE), rows());
        assertEquals(0, LogSplit.heldFrom(state.toKafkaPartitionSplit()));
    }

    @Test
    void theLogsClockIsTheGreatestTimestampSoFarAndNoEndOfTheLogMovesIt() throws Exception {
        RowDeserializer rows = Fixtures.rows(RowDeserializer.Metadata.CLOCK);
        OnceEmitter emitter = new OnceEmitter(rows, AN_HOUR_BY_THE_BROKER, once(), row -> null);
        List<Long> clocks = new ArrayList<>();
        Notes clocked = new Notes() {
            @Override
            public void collect(RowData row, long timestamp) {
                clocks.add(row.getTimestamp(1, 3).getMillisecond());
            }
        };
        emitter.emitRecord(record(ZERO, 0, NOON, "a"), clocked, state);
        emitter.emitRecord(record(ZERO, 1, NOON - MINUTE, "b"), clocked, state);
        emitter.emitRecord(new EndOfLog(ZERO, 2, NOON + HOUR), clocked, state);
        emitter.emitRecord(record(ZERO, 2, NOON + 1, "c"), clocked, state);
        assertEquals(List.of(NOON, NOON, NOON + 1), clocks);
        assertEquals(NOON + 1, LogSplit.logClockOf(state.toKafkaPartitionSplit()));
    }

    @Test
    void thePositionPassesWhatHoldsNoRecordAndTheFirstHeldStays() throws Exception {
        OnceEmitter emitter = new OnceEmitter(Fixtures.rows(), AN_HOUR, once(), Fixtures::timeOf);
        emitter.emitRecord(record(ZERO, 0, NOON, "a " + NOON), output, state);
        emitter.emitRecord(new Passed(ZERO, 9), output, state);
        KafkaPartitionSplit kept = state.toKafkaPartitionSplit();
        assertEquals(9, kept.getStartingOffset());
        assertEquals(0, LogSplit.heldFrom(kept));
        state = new LogSplitState(kept); // read again from there, it is not taken back
        emitter.emitRecord(record(ZERO, 0, NOON, "a " + NOON), output, state);
        assertEquals(new Stand(0, 9), state.stand());
        emitter.emitRecord(new Passed(ZERO, 12), output, state);
        state.settle();
        assertEquals(new Stand(12, 12), state.stand());
    }

    @Test
    void theEndOfALogThatTheBrokerDatesReleasesRowsForGood() throws Exception {
        OnceEmitter emitter = new OnceEmitter(Fixtures.rows(), AN_HOUR_BY_THE_BROKER, once(), Fixtures::timeOf);
        emitter.emitRecord(record(ZERO, 0, NOON, "a " + NOON), output, state);
        emitter.emitRecord(new EndOfLog(ZERO, 1, NOON + HOUR + 2 * MINUTE), output, state);
        assertEquals(List.of("a " + NOON), rows());
        KafkaPartitionSplit kept = state.toKafkaPartitionSplit();
        assertEquals(1, LogSplit.heldFrom(kept));
        assertEquals(NOON + HOUR + MINUTE, LogSplit.clockOf(kept));
    }

    @Test
    void aCheckpointHasTheFirstOffsetHeldAndThePositionIsBehindAllThatWasRead() throws Exception {
        assertEquals(KafkaPartitionSplit.EARLIEST_OFFSET, LogSplit.heldFrom(state.toKafkaPartitionSplit()));
        emit(record(ZERO, 0, NOON, null), record(ZERO, 1, NOON, "a " + NOON), record(ZERO, 2, NOON, "b " + NOON));
        KafkaPartitionSplit kept = state.toKafkaPartitionSplit();
        assertEquals(3, kept.getStartingOffset());
        assertEquals(1, LogSplit.heldFrom(kept));
        assertEquals(1, LogSplit.fromFirstHeld(kept).getStartingOffset());
    }

    /** However often and wherever it is restored, rows come as if it never had been. */
    @Test
    void restartsChangeNothing() throws Exception {
        Random random = new Random(7);
        int restarts = 0;
        for (int run = 0; run < 200; run++) {
            List<ConsumerRecord<byte[], byte[]>> log = log(random);
            state = new LogSplitState(from(ZERO, 0));
            output.taken.clear();
            emit(log);
            List<String> whole = List.copyOf(output.taken);

            state = new LogSplitState(from(ZERO, 0));
            output.taken.clear();
            int next = 0;
            while (next < log.size()) {
                emit(log.subList(next, ++next));
                if (random.nextInt(10) == 0) {
                    LogSplitSerializer serializer = new LogSplitSerializer();
                    KafkaPartitionSplit kept = serializer.deserialize(3, serializer.serialize(state.toKafkaPartitionSplit()));
                    state = new LogSplitState(kept);
                    next = (int) LogSplit.heldFrom(kept); // a log without gaps
                    restarts++;
                }
            }
            assertEquals(whole, output.taken, "run " + run);
            assertNotEquals(List.of(), whole);
        }
        assertTrue(restarts > 1_000, () -> "too few restarts to say anything");
    }

    /** Timestamps go back, some events are far ahead: the same rows with the same clocks, those on time in order of time. */
    @Test
    void restartsChangeNothingOfWhatIsJudgedByTheLogsClock() throws Exception {
        Random random = new Random(11);
        for (int run = 0; run < 200; run++) {
            List<ConsumerRecord<byte[], byte[]>> log = new ArrayList<>();
            for (ConsumerRecord<byte[], byte[]> one : log(random)) {
                long back = random.nextInt(5) == 0 ? random.nextInt(90) * MINUTE : 0;
                String value = one.value() == null ? null : new String(one.value());
                if (value != null && random.nextInt(10) == 0) {
                    value = "d " + (one.timestamp() + random.nextInt(120) * MINUTE);
                }
                log.add(record(ZERO, one.offset(), one.timestamp() - back, value));
            }
            List<Judged> whole = judged(log, random, false);
            assertEquals(whole, judged(log, random, true), "run " + run);
            List<Long> onTime = whole.stream().filter(Judged::isOnTime).map(Judged::time).toList();
            assertEquals(onTime.stream().sorted().toList(), onTime, "run " + run);
            long events = whole.stream().filter(Judged::isOnTime).map(Judged::row).distinct().count();
            assertEquals(onTime.size(), events, "each once");
            assertTrue(onTime.size() > 10 && whole.size() > onTime.size() + 10);
        }
    }

    /** A row, its event's time, and the clock by which SQL judges it. */
    private record Judged(String row, long time, long clock) {

        boolean isOnTime() {
            return time >= clock - HOUR && time <= clock + HOUR;
        }
    }

    private List<Judged> judged(List<ConsumerRecord<byte[], byte[]>> log, Random random, boolean restarts) throws Exception {
        List<Judged> rows = new ArrayList<>();
        Notes noting = new Notes() {
            @Override
            public void collect(RowData row, long timestamp) {
                if (!row.isNullAt(0)) {
                    long clock = row.getTimestamp(1, 3).getMillisecond();
                    rows.add(new Judged(row.getString(0).toString(), Fixtures.timeOf(row), clock));
                }
            }
        };
        RowDeserializer clocked = Fixtures.rows(RowDeserializer.Metadata.CLOCK);
        Once upToAnHour = new Once(new int[] {0}, null, Duration.ofHours(1));
        OnceEmitter emitter = new OnceEmitter(clocked, AN_HOUR, upToAnHour, Fixtures::timeOf);
        LogSplitSerializer serializer = new LogSplitSerializer();
        state = new LogSplitState(from(ZERO, 0));
        int next = 0;
        while (next < log.size()) {
            emitter.emitRecord(log.get(next++), noting, state);
            if (restarts && random.nextInt(10) == 0) {
                KafkaPartitionSplit kept = serializer.deserialize(3, serializer.serialize(state.toKafkaPartitionSplit()));
                state = new LogSplitState(kept);
                next = (int) LogSplit.heldFrom(kept);
            }
        }
        OnceEmitter.release(state, Long.MAX_VALUE, noting);
        return rows;
    }

    private static List<ConsumerRecord<byte[], byte[]>> log(Random random) {
        List<ConsumerRecord<byte[], byte[]>> log = new ArrayList<>();
        long timestamp = NOON;
        for (int offset = 0; offset < 100; offset++) {
            timestamp += random.nextInt(5) * MINUTE;
            long happened = timestamp - random.nextInt(80) * MINUTE; // some are late
            String value = random.nextInt(12) == 0 ? null : "abc".charAt(random.nextInt(3)) + " " + happened;
            log.add(record(ZERO, offset, timestamp, value));
        }
        return log;
    }

    @SafeVarargs
    private void emit(ConsumerRecord<byte[], byte[]>... records) throws Exception {
        emit(List.of(records));
    }

    private void emit(List<ConsumerRecord<byte[], byte[]>> records) throws Exception {
        OnceEmitter emitter = new OnceEmitter(Fixtures.rows(), AN_HOUR, once(), Fixtures::timeOf);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            emitter.emitRecord(record, output, state);
        }
    }

    private List<String> rows() {
        return output.taken.stream().map(noted -> noted.replaceAll(" @ .*", "")).toList();
    }
}
