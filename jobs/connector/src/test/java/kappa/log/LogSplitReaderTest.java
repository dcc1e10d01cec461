package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

class LogSplitReaderTest {

    private final Map<TopicPartition, Long> told = new HashMap<>();

    @Test
    void aPositionIsToldWhenItMovesWithOrWithoutRecords() {
        assertEquals(List.of("log-0 at 0", "log-1 at 7"), passed(Map.of(ZERO, 0L, ONE, 7L)));
        assertEquals(List.of(), passed(Map.of(ZERO, 0L, ONE, 7L)));
        assertEquals(List.of("log-1 at 157"), passed(Map.of(ZERO, 0L, ONE, 157L)));
    }

    private List<String> passed(Map<TopicPartition, Long> positions) {
        return LogSplitReader.passed(positions.keySet(), positions::get, told).stream()
                .map(passed -> passed.splitId() + " at " + passed.offset())
                .sorted()
                .toList();
    }
}
