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

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import kappa.log.Fixtures.Notes;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
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
                    KafkaPartitionSplit kept = serializer.deserialize(2, serializer.serialize(state.toKafkaPartitionSplit()));
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
