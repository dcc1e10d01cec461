package kappa.log;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.Path;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * The positions of one source's checkpoints, beside the job's checkpoints: {@code positions/SOURCE/CHECKPOINT}.
 *
 * <p>Each file is a line of JSON, {@code {"topic": {"partition": [covered, read]}}}: see {@link Stand}. A source is there
 * before the first checkpoint completes, as a file {@code source}: so who reads the positions of a checkpoint knows how
 * many sources they are of, and whether all of them have written theirs.
 */
final class PositionFiles {

    private static final String SOURCE = "source";
    private static final int KEPT = 32;

    private final Path folder;
    private final Deque<Path> written = new ArrayDeque<>();

    /**
     * @param checkpoints where all jobs have their checkpoints
     * @param operator unique in the job
     */
    PositionFiles(String checkpoints, String job, String operator) {
        folder = new Path(checkpoints, job + "/positions/" + operator);
    }

    /** Says that there is this source. */
    void announce() throws IOException {
        write(new Path(folder, SOURCE), "{}\n");
    }

    void write(long checkpoint, Map<TopicPartition, Stand> stands) throws IOException {
        Path file = new Path(folder, Long.toString(checkpoint));
        write(file, json(stands) + "\n");
        written.add(file);
        while (written.size() > KEPT) {
            folder.getFileSystem().delete(written.remove(), false);
        }
    }

    private void write(Path file, String text) throws IOException {
        try (OutputStream out = folder.getFileSystem().create(file, WriteMode.OVERWRITE)) {
            out.write(text.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** Names of topics need no escape: they are of letters, digits, dots, dashes and underscores. */
    static String json(Map<TopicPartition, Stand> stands) {
        Map<String, Map<Integer, String>> topics = new TreeMap<>();
        stands.forEach(
                (partition, stand) ->
                        topics.computeIfAbsent(partition.topic(), topic -> new TreeMap<>())
                                .put(partition.partition(), "[" + stand.covered() + ", " + stand.read() + "]"));
        return topics.entrySet().stream()
                .map(topic -> quoted(topic.getKey()) + ": " + object(topic.getValue()))
                .collect(Collectors.joining(", ", "{", "}"));
    }

    private static String object(Map<Integer, String> fields) {
        return fields.entrySet().stream()
                .map(field -> quoted(field.getKey()) + ": " + field.getValue())
                .collect(Collectors.joining(", ", "{", "}"));
    }

    private static String quoted(Object name) {
        return "\"" + name + "\"";
    }
}
