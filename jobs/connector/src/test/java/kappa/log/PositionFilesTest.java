package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PositionFilesTest {

    @TempDir private Path checkpoints;

    @Test
    void aPositionIsALineOfJson() throws Exception {
        PositionFiles files = files();
        files.write(7, Map.of(ONE, new Stand(8, 9), ZERO, new Stand(5, 5), new TopicPartition("a.b-c_d", 0), new Stand(0, 1)));
        assertEquals(
                "{\"a.b-c_d\": {\"0\": [0, 1]}, \"log\": {\"0\": [5, 5], \"1\": [8, 9]}}\n",
                Files.readString(checkpoints.resolve("job/positions/operator/7")));
    }

    @Test
    void aSourceIsAnnouncedBeforeItHasAPosition() throws Exception {
        files().announce();
        files().announce(); // and again by the next JobManager
        assertEquals(List.of("source"), names());
    }

    @Test
    void theOldestPositionsGo() throws Exception {
        PositionFiles files = files();
        files.announce();
        for (int checkpoint = 1; checkpoint <= 40; checkpoint++) {
            files.write(checkpoint, Map.of());
        }
        assertEquals(33, names().size());
        assertEquals(true, names().containsAll(List.of("source", "9", "40")));
    }

    private PositionFiles files() {
        return new PositionFiles(checkpoints.toUri().toString(), "job", "operator");
    }

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(checkpoints.resolve("job/positions/operator"))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> !name.startsWith(".")).sorted().toList();
        }
    }
}
