package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static kappa.log.Fixtures.HOUR;
import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.Consumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.MockConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.PartitionInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class VersionReaderTest {

    private static final Duration LONG = Duration.ofSeconds(30);
    private static final StringData A = StringData.fromString("a");

    private final Log log = new Log();
    private VersionReader.Lookup lookup;

    @AfterEach
    void stop() {
        if (lookup != null) {
            lookup.close();
        }
    }

    @Test
    void aLookupWaitsUntilEveryPartitionHasPassedItsTime() throws Exception {
        log.has(record(ZERO, 0, 10 * HOUR, "a,x," + 9 * HOUR + ",1"), record(ONE, 0, 5 * HOUR, "b,x," + 5 * HOUR + ",2"));
        start(reader(false, Map.of(), 0, LONG));
        assertEquals("none", at(4 * HOUR - 1));
        CompletableFuture<String> waits = CompletableFuture.supplyAsync(() -> at(9 * HOUR));
        assertThrows(TimeoutException.class, () -> waits.get(300, TimeUnit.MILLISECONDS));
        log.has(record(ONE, 1, 10 * HOUR, "b,x," + 10 * HOUR + ",3"));
        assertThrows(TimeoutException.class, () -> waits.get(300, TimeUnit.MILLISECONDS));
        log.has(record(ZERO, 1, 10 * HOUR, "a,x," + 9 * HOUR + ",4")); // may still come
        log.has(record(ZERO, 2, 10 * HOUR + 1, "b,x,,"), record(ONE, 2, 10 * HOUR + 1, "b,x,,"));
        assertEquals("4", waits.get(30, TimeUnit.SECONDS));
    }

    @Test
    void whatWasFoundStaysSoOnlyAsFarAsTheClockHadCome() throws Exception {
        log.has(record(ZERO, 0, 2 * HOUR, "a,x," + HOUR + ",1"), record(ZERO, 1, 5 * HOUR, "b,x,,"));
        log.has(record(ONE, 0, 5 * HOUR, "b,x,,"));
        start(reader(false, Map.of(), 0, LONG));
        assertEquals("1", at(2 * HOUR));
        log.has(record(ZERO, 2, 6 * HOUR, "a,x," + 5 * HOUR + ",2"), record(ZERO, 3, 9 * HOUR, "b,x,,"));
        log.has(record(ONE, 1, 9 * HOUR, "b,x,,"));
        assertEquals("1", at(5 * HOUR - 1));
        assertEquals("2", at(5 * HOUR));
        assertEquals("1", at(3 * HOUR)); // of another partition, perhaps
        assertEquals("none", at(HOUR - 1));
    }

    @Test
    void aVersionIsLateByTheLatestTimestampBeforeItNotByItsOwn() throws Exception {
        for (int hour = 0; hour < 1_000; hour++) {
            log.has(record(ZERO, 2 * hour, hour * HOUR, "a,x," + hour * HOUR + "," + hour));
            // Its clock was set back: not late by its own timestamp, though long after its time.
            log.has(record(ZERO, 2 * hour + 1, (hour - 9) * HOUR, "a,x," + ((hour - 9) * HOUR + 1) + ",late"));
            log.has(record(ONE, hour, hour * HOUR, "b"));
        }
        VersionReader reader = reader(false, Map.of(), 100, LONG);
        start(reader);
        for (int hour = 10; hour < 900; hour++) {
            assertEquals("" + hour, at(hour * HOUR + 1));
        }
        assertFalse(reader.holds(0));
        assertEquals("3", at(3 * HOUR + 1)); // read again from the beginning, it is the same
        assertEquals("500", at(500 * HOUR + 1));
    }

    @Test
    void afterItsPatienceItSaysWhatItWaitsFor() throws Exception {
        log.has(record(ZERO, 0, 0, "a,x,0,1"), record(ONE, 0, 0, "a,x,0,1"));
        start(reader(false, Map.of(), 0, Duration.ofMillis(200)));
        String said = assertThrows(IllegalStateException.class, () -> at(HOUR)).getMessage();
        assertTrue(said.startsWith("log: rows of 1970-01-01T01:00:00Z wait for what it says of that time."), said);
        assertTrue(said.contains("found all partitions up to 1969-12-31T22:59:59.999Z"), said);
    }

    @Test
    void aTopicThatEndsIsReadWholeBeforeTheFirstLookup() throws Exception {
        log.has(record(ZERO, 0, HOUR, "a,x,,1"), record(ZERO, 1, 2 * HOUR, "a,x,,2"), record(ONE, 0, HOUR, "b,x,,3"));
        start(reader(true, Map.of(ZERO, 1L, ONE, 1L), 0, LONG));
        lookup.readAll();
        assertEquals("1", at(Long.MAX_VALUE - 1)); // what comes behind the end is not read
    }

    @Test
    void whatFailsItsReadingFailsTheLookup() throws Exception {
        log.has(record(ZERO, 0, HOUR, "not,a,number,1"));
        VersionReader reader = reader(false, Map.of(), 0, LONG);
        start(reader);
        Throwable cause = assertThrows(IllegalStateException.class, () -> at(HOUR)).getCause();
        assertTrue(cause instanceof NumberFormatException, String.valueOf(cause));
        assertTrue(reader.hasFailed());
    }

    @Test
    void oldVersionsAreForgottenAndReadAgainWhenTheyAreAskedFor() throws Exception {
        for (int hour = 0; hour < 1_000; hour++) {
            log.has(record(ZERO, hour, hour * HOUR, "a,x," + hour * HOUR + "," + hour), record(ONE, hour, hour * HOUR, "b"));
        }
        VersionReader reader = reader(false, Map.of(), 100, LONG);
        start(reader);
        for (int hour = 0; hour < 900; hour++) {
            assertEquals("" + hour, at(hour * HOUR));
        }
        assertFalse(reader.holds(0));
        assertTrue(reader.holds(899 * HOUR));
        assertEquals("3", at(3 * HOUR));
        assertTrue(reader.holds(0));
        for (int hour = 0; hour < 998; hour++) {
            assertEquals("" + hour, at(hour * HOUR));
        }
        assertTrue(reader.holds(0)); // once bitten
    }

    @Test
    void theLastLookupEndsTheReading() throws Exception {
        log.has(record(ZERO, 0, 0, "a,x,0,1"));
        VersionReader reader = reader(false, Map.of(), 0, LONG);
        Thread thread = start(reader);
        VersionReader.Lookup second = reader.lookup();
        lookup.close();
        assertFalse(reader.isClosed());
        second.close();
        assertTrue(reader.isClosed());
        thread.join(30_000);
        assertFalse(thread.isAlive());
    }

    private String at(long time) {
        RowData row = lookup.at(A, time);
        return row == null ? "none" : row.getString(3).toString();
    }

    private Thread start(VersionReader reader) {
        lookup = reader.lookup();
        Thread thread = new Thread(reader);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private VersionReader reader(boolean bounded, Map<TopicPartition, Long> ends, int keep, Duration patience)
            throws Exception {
        VersionReader.Decoder decoder = VersionsTest.decoder(new int[] {0}, bounded ? -1 : 2, bounded);
        return new VersionReader(
                new VersionReader.Log("log", new Properties(), AN_HOUR, bounded, ends, null), decoder, keep, patience) {
            @Override
            Consumer<byte[], byte[]> connect(Properties own) {
                return log;
            }
        };
    }

    /** A topic of two partitions that grows, ten records at a time. */
    private static final class Log extends MockConsumer<byte[], byte[]> {

        private final List<List<ConsumerRecord<byte[], byte[]>>> records =
                List.of(new ArrayList<>(), new ArrayList<>());

        Log() {
            super(OffsetResetStrategy.NONE);
            updatePartitions("log", List.of(info(0), info(1)));
            updateBeginningOffsets(Map.of(ZERO, 0L, ONE, 0L));
        }

        private static PartitionInfo info(int partition) {
            return new PartitionInfo("log", partition, null, null, null);
        }

        @SafeVarargs
        final synchronized void has(ConsumerRecord<byte[], byte[]>... added) {
            Arrays.stream(added).forEach(record -> records.get(record.partition()).add(record));
        }

        @Override
        public synchronized ConsumerRecords<byte[], byte[]> poll(Duration timeout) {
            for (TopicPartition partition : assignment()) {
                List<ConsumerRecord<byte[], byte[]>> all = records.get(partition.partition());
                int from = (int) position(partition);
                all.subList(from, Math.min(from + 10, all.size())).forEach(this::addRecord);
            }
            return super.poll(Duration.ZERO);
        }
    }
}
