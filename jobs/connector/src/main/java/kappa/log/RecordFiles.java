package kappa.log;

import java.io.Closeable;
import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.file.DataFileReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;

/**
 * The records of a topic in files: of partition 0 in {@code 0.avro}, in order, each with its own offset and timestamp.
 *
 * <p>They are Avro's container files, of {@link #SCHEMA}: bytes are what Kafka would hand out. A partition without records
 * has a file without any.
 */
record RecordFiles(String folder, String topic) implements Serializable {

    static final String SCHEMA =
            """
            {"type": "record", "name": "Record", "namespace": "kappa.log", "fields": [
              {"name": "offset", "type": "long"},
              {"name": "timestamp", "type": "long"},
              {"name": "key", "type": ["null", "bytes"]},
              {"name": "value", "type": ["null", "bytes"]},
              {"name": "headers", "type": {"type": "array", "items": {"type": "record", "name": "Header", "fields": [
                {"name": "key", "type": "string"},
                {"name": "value", "type": ["null", "bytes"]}
              ]}}}
            ]}
            """;
    private static final Pattern NAME = Pattern.compile("(0|[1-9][0-9]{0,8})\\.avro");

    RecordFiles(String folder, List<String> topics) {
        this(folder, only(topics, folder));
    }

    private static String only(List<String> topics, String folder) {
        if (topics == null || topics.size() != 1) {
            throw new IllegalArgumentException("Records in files are of one topic. Found: " + topics + " in " + folder);
        }
        return topics.get(0);
    }

    /** The partitions, each with its file; at least one. */
    TreeMap<TopicPartition, Path> partitions() throws IOException {
        TreeMap<TopicPartition, Path> found =
                new TreeMap<>((one, other) -> Integer.compare(one.partition(), other.partition()));
        try (Stream<Path> files = Files.list(Path.of(folder))) {
            for (Path file : (Iterable<Path>) files::iterator) {
                Matcher name = NAME.matcher(file.getFileName().toString());
                if (name.matches()) {
                    found.put(new TopicPartition(topic, Integer.parseInt(name.group(1))), file);
                }
            }
        }
        if (found.isEmpty()) {
            throw new IOException("No records of " + topic + ". Expected 0.avro and so on in " + folder);
        }
        return found;
    }

    /** The records of one partition, in order. */
    static final class Reader implements Iterator<ConsumerRecord<byte[], byte[]>>, Closeable {

        private final TopicPartition partition;
        private final Path path;
        private final DataFileReader<GenericRecord> file;
        private long before = -1;

        Reader(TopicPartition partition, Path path) throws IOException {
            this.partition = partition;
            this.path = path;
            this.file = new DataFileReader<>(path.toFile(), new GenericDatumReader<>(new Schema.Parser().parse(SCHEMA)));
        }

        @Override
        public boolean hasNext() {
            return file.hasNext();
        }

        @Override
        public ConsumerRecord<byte[], byte[]> next() {
            GenericRecord record = file.next();
            long offset = (Long) record.get("offset");
            if (offset <= before) {
                throw new IllegalStateException(
                        String.format("The offsets of %s do not ascend: %d behind %d", path, offset, before));
            }
            before = offset;
            return new ConsumerRecord<>(
                    partition.topic(),
                    partition.partition(),
                    offset,
                    (Long) record.get("timestamp"),
                    TimestampType.CREATE_TIME,
                    ConsumerRecord.NULL_SIZE,
                    ConsumerRecord.NULL_SIZE,
                    bytes(record.get("key")),
                    bytes(record.get("value")),
                    headers((List<?>) record.get("headers")),
                    Optional.empty());
        }

        private static RecordHeaders headers(List<?> found) {
            RecordHeaders headers = new RecordHeaders();
            for (Object each : found) {
                GenericRecord header = (GenericRecord) each;
                headers.add(header.get("key").toString(), bytes(header.get("value")));
            }
            return headers;
        }

        private static byte[] bytes(Object found) {
            if (found == null) {
                return null;
            }
            ByteBuffer buffer = (ByteBuffer) found;
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            return bytes;
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }
}
