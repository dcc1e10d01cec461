package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import java.util.Set;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

class CheckpointPositionsTest {

    private static final Map<Long, Map<TopicPartition, Stand>> NOTHING = Map.of();
    private static final Stand FIVE = new Stand(5, 6);
    private static final Stand NINE = new Stand(9, 9);
    private static final Set<Integer> BOTH = Set.of(0, 1);

    private final CheckpointPositions endless = new CheckpointPositions(false, Map.of());

    @Test
    void aPositionIsWholeWhenEveryReaderHasToldAndTheCheckpointIsComplete() {
        begin(endless, 7);
        endless.tell(0, new Positions(7, Map.of(ZERO, FIVE)));
        assertEquals(NOTHING, endless.whole(BOTH));
        endless.complete(7);
        assertEquals(NOTHING, endless.whole(BOTH));
        endless.tell(1, new Positions(7, Map.of(ONE, NINE))); // in whichever order
        assertEquals(Map.of(7L, Map.of(ZERO, FIVE, ONE, NINE)), endless.whole(BOTH));
        assertEquals(NOTHING, endless.whole(BOTH));
    }

    @Test
    void aCheckpointThatWasAbortedIsForgottenAndTheNextIsWhole() {
        begin(endless, 7);
        endless.tell(0, new Positions(7, Map.of(ZERO, FIVE)));
        endless.abort(7);
        begin(endless, 8);
        endless.tell(0, new Positions(8, Map.of(ZERO, NINE)));
        endless.tell(1, new Positions(8, Map.of(ONE, NINE)));
        endless.complete(8);
        assertEquals(Map.of(8L, Map.of(ZERO, NINE, ONE, NINE)), endless.whole(BOTH));
        endless.tell(1, new Positions(7, Map.of(ONE, FIVE))); // too late for one that never completed
        assertEquals(NOTHING, endless.whole(BOTH));
    }

    @Test
    void whatNobodyReadsOfALogWithoutEndIsNotClaimed() {
        begin(endless, 7);
        endless.tell(0, new Positions(7, Map.of(ZERO, FIVE)));
        endless.tell(1, new Positions(7, Map.of()));
        endless.complete(7);
        assertEquals(NOTHING, endless.whole(BOTH));
    }

    @Test
    void aPartitionThatIsNotAssignedYetWasNotRead() {
        endless.begin(7, new KafkaSourceEnumState(Set.of(ZERO), Set.of(ONE), true));
        endless.tell(0, new Positions(7, Map.of(ZERO, FIVE)));
        endless.complete(7);
        assertEquals(Map.of(7L, Map.of(ZERO, FIVE, ONE, new Stand(0, 0))), endless.whole(Set.of(0)));
    }

    @Test
    void aPartitionReadToItsBoundStandsThereInEveryLaterCheckpoint() {
        CheckpointPositions ends = new CheckpointPositions(true, Map.of(ZERO, 20L, ONE, 30L));
        begin(ends, 7);
        ends.tell(0, new Positions(7, Map.of(ZERO, FIVE)));
        ends.tell(1, new Positions(7, Map.of(ONE, NINE)));
        ends.end(0, new Ended(7)); // behind the barrier of 7: that checkpoint has no more than it said
        ends.complete(7);
        assertEquals(Map.of(7L, Map.of(ZERO, FIVE, ONE, NINE)), ends.whole(BOTH));
        begin(ends, 8);
        ends.tell(1, new Positions(8, Map.of(ONE, NINE)));
        ends.complete(8);
        assertEquals(Map.of(8L, Map.of(ZERO, new Stand(20, 20), ONE, NINE)), ends.whole(BOTH));
    }

    @Test
    void ofASourceThatHadEndedBeforeTheJobWasRestoredNoReaderRuns() {
        CheckpointPositions ends = new CheckpointPositions(true, Map.of(ZERO, 20L));
        begin(ends, 9);
        ends.complete(9);
        // where the other partition ends nobody knows
        assertEquals(Map.of(9L, Map.of(ZERO, new Stand(20, 20))), ends.whole(Set.of()));
    }

    @Test
    void aReaderThatBeginsAgainIsAwaitedAgain() {
        CheckpointPositions ends = new CheckpointPositions(true, Map.of(ZERO, 20L, ONE, 30L));
        ends.end(0, new Ended(3));
        ends.restart(0);
        begin(ends, 4);
        ends.complete(4);
        ends.tell(1, new Positions(4, Map.of(ONE, NINE)));
        assertEquals(NOTHING, ends.whole(BOTH));
        ends.tell(0, new Positions(4, Map.of(ZERO, FIVE)));
        assertEquals(Map.of(4L, Map.of(ZERO, FIVE, ONE, NINE)), ends.whole(BOTH));
    }

    private static void begin(CheckpointPositions positions, long checkpoint) {
        positions.begin(checkpoint, new KafkaSourceEnumState(Set.of(ZERO, ONE), Set.of(), true));
    }
}
