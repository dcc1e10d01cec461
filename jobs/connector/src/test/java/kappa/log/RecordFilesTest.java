package kappa.log;

import static kappa.log.Fixtures.HOUR;
import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.file.DataFileWriter;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumWriter;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsAddition;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RecordFilesTest {

    @TempDir Path folder;

    private RecordFiles files;

    @BeforeEach
    void declare() {
        files = new RecordFiles(folder.toString(), "log");
    }

    @Test
    void theOldestRecordOfAllPartitionsComesNext() throws Exception {
        write(ZERO, record(ZERO, 0, 1, "a"), record(ZERO, 7, 5, "b"), record(ZERO, 8, 6, null));
        write(ONE, record(ONE, 3, 2, "c"), record(ONE, 4, 4, "d"));
        assertEquals(
                List.of("0:0 a", "1:3 c", "1:4 d", "log-1 ended", "0:7 b", "0:8 null", "log-0 ended"),
                read(new KafkaPartitionSplit(ZERO, -2), new KafkaPartitionSplit(ONE, -2)));
    }

    @Test
    void aPartitionIsReadFromItsStartToItsBound() throws Exception {
        write(ZERO, record(ZERO, 0, 1, "a"), record(ZERO, 2, 1, "b"), record(ZERO, 3, 1, "c"), record(ZERO, 4, 1, "d"));
        assertEquals(List.of("0:2 b", "0:3 c", "log-0 ended"), read(new KafkaPartitionSplit(ZERO, 1, 4)));
    }

    @Test
    void aPartitionWithoutRecordsEnds() throws Exception {
        write(ONE);
        assertEquals(List.of("log-1 ended"), read(new KafkaPartitionSplit(ONE, -2)));
    }

    /** As watermark alignment asks: a partition that was read to its end is finished all the same. */
    @Test
    void aPausedPartitionWaitsUntilItIsResumed() throws Exception {
        write(ZERO, record(ZERO, 0, 1, "a"), record(ZERO, 1, 9, "b"));
        write(ONE, record(ONE, 0, 2, "c"));
        KafkaPartitionSplit zero = new KafkaPartitionSplit(ZERO, -2);
        KafkaPartitionSplit one = new KafkaPartitionSplit(ONE, -2);
        try (FileSplitReader reader = new FileSplitReader(files)) {
            reader.handleSplitsChanges(new SplitsAddition<>(List.of(zero, one)));
            reader.pauseOrResumeSplits(List.of(zero), List.of());
            assertEquals(List.of("1:0 c", "log-1 ended"), fetch(reader));
            assertEquals(List.of(), fetch(reader));
            reader.pauseOrResumeSplits(List.of(), List.of(zero));
            assertEquals(List.of("0:0 a", "0:1 b", "log-0 ended"), fetch(reader));
            assertEquals(List.of(), fetch(reader));
        }
    }

    @Test
    void aPausedPartitionAtItsEndIsFinished() throws Exception {
        write(ZERO);
        KafkaPartitionSplit zero = new KafkaPartitionSplit(ZERO, -2);
        try (FileSplitReader reader = new FileSplitReader(files)) {
            reader.handleSplitsChanges(new SplitsAddition<>(List.of(zero)));
            reader.pauseOrResumeSplits(List.of(zero), List.of());
            assertEquals(List.of("log-0 ended"), fetch(reader));
        }
    }

    @Test
    void aRecordIsWhatKafkaWouldHandOut() throws Exception {
        ConsumerRecord<byte[], byte[]> written = record(ZERO, 5, 9, "value");
        written.headers().add("h", new byte[] {1}).add("none", null);
        write(ZERO, written);
        try (RecordFiles.Reader reader = new RecordFiles.Reader(ZERO, files.partitions().get(ZERO))) {
            ConsumerRecord<byte[], byte[]> read = reader.next();
            assertEquals("log", read.topic());
            assertEquals(9, read.timestamp());
            assertNull(read.key());
            assertArrayEquals("value".getBytes(), read.value());
            assertArrayEquals(new byte[] {1}, read.headers().lastHeader("h").value());
            assertNull(read.headers().lastHeader("none").value());
        }
    }

    @Test
    void offsetsThatDoNotAscendAreRefused() throws Exception {
        write(ZERO, record(ZERO, 5, 9, "a"), record(ZERO, 5, 9, "b"));
        try (RecordFiles.Reader reader = new RecordFiles.Reader(ZERO, files.partitions().get(ZERO))) {
            reader.next();
            assertThrows(IllegalStateException.class, reader::next);
        }
    }

    @Test
    void aFolderWithoutRecordsIsRefused() {
        assertThrows(IOException.class, files::partitions);
    }

    /** Versions that are late are left out of it, as of a topic without end; and nothing more comes behind the last. */
    @Test
    void versionsAreReadFromFilesToTheirEnds() throws Exception {
        write(ZERO, record(ZERO, 0, 5 * HOUR, "a,x," + 5 * HOUR + ",1"), record(ZERO, 1, 9 * HOUR, "a,x," + HOUR + ",2"));
        write(ONE, record(ONE, 4, 2 * HOUR, "a,x," + 2 * HOUR + ",3"));
        VersionReader reader =
                new VersionReader(
                        new VersionReader.Log("log", new Properties(), Fixtures.AN_HOUR, false, Map.of(), files),
                        VersionsTest.decoder(new int[] {0}, 2, false),
                        0,
                        Duration.ofSeconds(20));
        Thread thread = new Thread(reader);
        thread.setDaemon(true);
        thread.start();
        try (VersionReader.Lookup lookup = reader.lookup()) {
            assertEquals("null 3 3 1 1", found(lookup, HOUR, 2 * HOUR, 5 * HOUR - 1, 5 * HOUR, 100 * HOUR));
        }
        thread.join(20_000);
    }

    private static String found(VersionReader.Lookup lookup, long... times) {
        List<String> found = new ArrayList<>();
        for (long time : times) {
            GenericRowData row = lookup.at(StringData.fromString("a"), time);
            found.add(row == null ? "null" : String.valueOf(row.getField(3)));
        }
        return String.join(" ", found);
    }

    private List<String> read(KafkaPartitionSplit... splits) throws IOException {
        List<String> read = new ArrayList<>();
        FileSplitReader reader = new FileSplitReader(files);
        reader.handleSplitsChanges(new SplitsAddition<>(List.of(splits)));
        for (int ended = 0; ended < splits.length; ) {
            List<String> some = fetch(reader);
            ended += (int) some.stream().filter(what -> what.endsWith(" ended")).count();
            read.addAll(some);
        }
        reader.close();
        return read;
    }

    /** What it hands out at once: records by their dates, then the partitions that are finished. */
    private static List<String> fetch(FileSplitReader reader) throws IOException {
        RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records = reader.fetch();
        List<ConsumerRecord<byte[], byte[]>> some = new ArrayList<>();
        while (records.nextSplit() != null) {
            ConsumerRecord<byte[], byte[]> record;
            while ((record = records.nextRecordFromSplit()) != null) {
                some.add(record);
            }
        }
        some.sort((one, other) -> Long.compare(one.timestamp(), other.timestamp()));
        List<String> read = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> record : some) {
            String value = record.value() == null ? null : new String(record.value());
            read.add(record.partition() + ":" + record.offset() + " " + value);
        }
        records.finishedSplits().forEach(split -> read.add(split + " ended"));
        return read;
    }

    @SafeVarargs
    private void write(TopicPartition partition, ConsumerRecord<byte[], byte[]>... records) throws IOException {
        Schema schema = new Schema.Parser().parse(RecordFiles.SCHEMA);
        Schema header = schema.getField("headers").schema().getElementType();
        try (DataFileWriter<GenericRecord> file = new DataFileWriter<>(new GenericDatumWriter<>(schema))) {
            file.create(schema, folder.resolve(partition.partition() + ".avro").toFile());
            for (ConsumerRecord<byte[], byte[]> record : records) {
                List<GenericRecord> headers = new ArrayList<>();
                record.headers().forEach(found -> headers.add(pair(header, found.key(), found.value())));
                GenericRecord written = new GenericData.Record(schema);
                written.put("offset", record.offset());
                written.put("timestamp", record.timestamp());
                written.put("key", bytes(record.key()));
                written.put("value", bytes(record.value()));
                written.put("headers", headers);
                file.append(written);
            }
        }
    }

    private static GenericRecord pair(Schema schema, String key, byte[] value) {
        GenericRecord pair = new GenericData.Record(schema);
        pair.put("key", key);
        pair.put("value", bytes(value));
        return pair;
    }

    private static ByteBuffer bytes(byte[] bytes) {
        return bytes == null ? null : ByteBuffer.wrap(bytes);
    }
}
