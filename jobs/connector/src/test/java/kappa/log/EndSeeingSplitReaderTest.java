package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

class EndSeeingSplitReaderTest {

    @Test
    void anEndIsReachedWhenEverythingBelowItWasReturned() {
        assertEquals(List.of(), reached(Map.of(ZERO, 5L), Map.of(ZERO, 4L)));
        assertEquals(List.of("log-0"), reached(Map.of(ZERO, 5L), Map.of(ZERO, 5L)));
        assertEquals(List.of("log-0"), reached(Map.of(ZERO, 5L), Map.of(ZERO, 9L)));
    }

    @Test
    void anEmptyPartitionIsAtItsEnd() {
        assertEquals(List.of("log-0"), reached(Map.of(ZERO, 0L), Map.of(ZERO, 0L)));
    }

    @Test
    void eachPartitionIsJudgedByItself() {
        assertEquals(List.of("log-1"), reached(Map.of(ZERO, 5L, ONE, 2L), Map.of(ZERO, 4L, ONE, 2L)));
    }

    @Test
    void withoutAnAnswerNoEndIsReached() {
        assertEquals(List.of(), reached(Map.of(), Map.of(ZERO, 4L)));
    }

    private static List<String> reached(Map<TopicPartition, Long> ends, Map<TopicPartition, Long> positions) {
        List<EndOfLog> reached = EndSeeingSplitReader.reached(ends, 77, positions::get);
        reached.forEach(end -> assertEquals(77, end.askedAt()));
        return reached.stream().map(EndOfLog::splitId).toList();
    }
}
