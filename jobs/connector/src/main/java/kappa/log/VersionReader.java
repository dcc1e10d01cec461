package kappa.log;

import java.io.Closeable;
import java.io.IOException;
import java.io.Serializable;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.Admin;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.Consumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.table.data.GenericRowData;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads a topic of versions in a thread of its own, as far as it is asked for, for all subtasks of a TaskManager.
 *
 * <p>A partition's clock is the latest timestamp read. With a topic that is read without end, a version is late if its
 * time is more than the allowed lateness before that, and is left out: rejects has it. So when every clock less L has
 * passed a time, all versions of that time are there, and a lookup gives the same row in every run. Until then it waits.
 */
class VersionReader implements Runnable {

    private static final Logger LOG = LoggerFactory.getLogger(VersionReader.class);
    private static final Duration POLL = Duration.ofMillis(100);
    private static final Duration DISCOVERY = Duration.ofSeconds(10);
    private static final Duration ASK_FOR_ENDS = Duration.ofSeconds(1);
    private static final String RECORDS_AT_ONCE = "2000";
    private static final int REMEMBERED = 10_000; // keys, of each subtask

    /** Takes the versions out of a record; `latest` is the latest timestamp of its partition up to it. */
    interface Decoder {
        void decode(ConsumerRecord<byte[], byte[]> record, long latest, VersionTable into) throws IOException;
    }

    /** What is read: a topic, to given ends or, with none, for ever; or {@code files} instead of Kafka, null for Kafka. */
    record Log(
            String topic,
            Properties consumer,
            LogClock clock,
            boolean bounded,
            Map<TopicPartition, Long> ends,
            RecordFiles files)
            implements Serializable {

        /** Whether there is nothing more once all of it is read. Files of an unbounded topic end, too. */
        boolean hasEnd() {
            return bounded || files != null;
        }
    }

    private final Log log;
    private final Decoder decoder;
    private final int keepAtLeast;
    private final Duration patience;
    private final VersionTable table = new VersionTable();
    private final List<Lookup> lookups = new CopyOnWriteArrayList<>();
    private final Map<TopicPartition, Long> clocks = new HashMap<>();
    private final Map<TopicPartition, Long> timestamps = new HashMap<>(); // the latest up to where it is read
    private final Map<TopicPartition, Long> ends = new HashMap<>();
    private Map<TopicPartition, Long> readAgainTo = Map.of();
    private long lowBefore = Long.MIN_VALUE;
    private Instant discovered = Instant.MIN;
    private Instant askedForEnds = Instant.MIN;
    // Under the monitor of this:
    private long demand = Long.MIN_VALUE;
    private long readAhead = Long.MIN_VALUE;
    private boolean readAgain;
    private boolean keepAll;
    private Throwable failure;
    private volatile boolean closed;
    private volatile long complete = Long.MIN_VALUE;

    /**
     * @param keepAtLeast so many versions are kept whether they are asked for or not
     * @param patience how long a lookup waits for the topic's clock before it fails
     */
    VersionReader(Log log, Decoder decoder, int keepAtLeast, Duration patience) {
        this.log = log;
        this.decoder = decoder;
        this.keepAtLeast = keepAtLeast;
        this.patience = patience;
    }

    /** The lookups of one subtask. */
    final class Lookup implements Closeable {

        private final AtomicLong low = new AtomicLong(Long.MAX_VALUE);
        private final Map<Object, VersionTable.Valid> found = new HashMap<>();

        /** What is valid for a key at a time; null for nothing. Waits until the topic is read that far. */
        GenericRowData at(Object key, long time) {
            if (time < low.get()) {
                low.accumulateAndGet(time, Math::min);
            }
            VersionTable.Valid last = found.get(key);
            if (last != null && last.isAt(time)) {
                return last.row();
            }
            if (time > complete) {
                await(time);
            }
            long known = complete; // read first: what is put from now on is valid later than this
            VersionTable.Valid valid = table.at(key, time);
            if (!table.holds(time)) {
                awaitAll();
                valid = table.at(key, time);
            }
            if (valid == null) {
                return null;
            }
            remember(valid, known);
            return valid.row();
        }

        /** Rows come in order of time, so what is asked next is mostly the same version. */
        private void remember(VersionTable.Valid valid, long known) {
            if (found.size() >= REMEMBERED) {
                found.clear();
            }
            long until = Math.min(valid.until(), known == Long.MAX_VALUE ? known : known + 1);
            found.put(valid.key(), new VersionTable.Valid(valid.key(), valid.row(), valid.from(), until));
        }

        /** Waits until everything of a topic that ends is read. */
        void readAll() {
            await(Long.MAX_VALUE);
        }

        /** The last one ends the reading. */
        @Override
        public void close() {
            lookups.remove(this);
            if (lookups.isEmpty()) {
                end();
            }
        }
    }

    Lookup lookup() {
        Lookup lookup = new Lookup();
        lookups.add(lookup);
        return lookup;
    }

    synchronized boolean hasFailed() {
        return failure != null;
    }

    boolean holds(long time) {
        return table.holds(time);
    }

    boolean isClosed() {
        return closed;
    }

    private synchronized void end() {
        closed = true;
        notifyAll();
    }

    private synchronized void await(long time) {
        demand = Math.max(demand, time);
        notifyAll();
        waitFor(() -> complete >= time, time);
    }

    /** Somebody asks for a time whose versions were forgotten: they are read again, and nothing is forgotten any more. */
    private synchronized void awaitAll() {
        if (!keepAll) {
            LOG.warn("A version of {} that was forgotten is asked for: all are read again, and kept from now on", log.topic);
        }
        keepAll = true;
        readAgain = true;
        notifyAll();
        waitFor(() -> table.holds(Long.MIN_VALUE), Long.MIN_VALUE);
    }

    private void waitFor(BooleanSupplier condition, long time) {
        long deadline = System.nanoTime() + patience.toNanos();
        try {
            while (!condition.getAsBoolean()) {
                long left = (deadline - System.nanoTime()) / 1_000_000;
                if (failure != null || closed || left <= 0) {
                    throw new IllegalStateException(failure != null ? log.topic + " cannot be read" : waited(time), failure);
                }
                wait(left);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for " + log.topic, e);
        }
    }

    private String waited(long time) {
        if (log.bounded) {
            return String.format(
                    "%s was not read to %s in %s. Has it been recreated with fewer records than when the release was built?",
                    log.topic, log.ends.isEmpty() ? "its end" : log.ends, patience);
        }
        return String.format(
                "%s: rows of %s wait for what it says of that time. Expected its records, or heartbeats, to come before "
                        + "those of the events; found all partitions up to %s and nothing more for %s. Feed %s.",
                log.topic, Instant.ofEpochMilli(time), complete == Long.MIN_VALUE ? "no time at all"
                        : Instant.ofEpochMilli(complete), patience, log.topic);
    }

    @Override
    public void run() {
        Properties own = new Properties();
        own.putAll(log.consumer);
        own.remove(ConsumerConfig.GROUP_ID_CONFIG);
        own.remove(ConsumerConfig.CLIENT_ID_CONFIG);
        own.setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, RECORDS_AT_ONCE);
        try (Consumer<byte[], byte[]> kafka = connect(own);
                Admin admin = log.files == null && log.clock.brokerDatesRecords() ? Admin.create(own) : null) {
            read(kafka, admin);
        } catch (Throwable e) {
            synchronized (this) {
                failure = e;
                notifyAll();
            }
        }
    }

    Consumer<byte[], byte[]> connect(Properties own) {
        return log.files == null ? new KafkaConsumer<>(own) : new FileConsumer(log.files);
    }

    private void read(Consumer<byte[], byte[]> kafka, Admin admin) throws Exception {
        while (awaitDemand()) {
            discover(kafka);
            if (clocks.isEmpty()) {
                Thread.sleep(POLL.toMillis());
                continue;
            }
            ConsumerRecords<byte[], byte[]> records = kafka.poll(POLL);
            take(records);
            if (records.isEmpty() && admin != null) {
                clocksAtEnds(kafka, admin);
            }
            if (log.hasEnd()) {
                finish(kafka);
            }
            again(kafka);
            synchronized (this) {
                readAhead = complete;
                complete = clocks.values().stream().mapToLong(Long::longValue).min().orElse(Long.MIN_VALUE);
                notifyAll();
            }
            forget();
        }
    }

    /** False when there is nothing more to do. Reads one portion more than was asked for. */
    private synchronized boolean awaitDemand() throws InterruptedException {
        while (!closed && readAhead >= demand && !readAgain && readAgainTo.isEmpty()) {
            wait();
        }
        return !closed && complete < Long.MAX_VALUE;
    }

    /** Partitions that the topic has, or has gained. */
    private void discover(Consumer<byte[], byte[]> kafka) {
        boolean known = !clocks.isEmpty();
        if (known && (log.hasEnd() || Instant.now().isBefore(discovered.plus(DISCOVERY)))) {
            return;
        }
        discovered = Instant.now();
        List<TopicPartition> gained = new ArrayList<>(log.ends.keySet());
        if (gained.isEmpty()) {
            kafka.partitionsFor(log.topic).forEach(p -> gained.add(new TopicPartition(log.topic, p.partition())));
        }
        gained.removeAll(clocks.keySet());
        if (gained.isEmpty()) {
            return;
        }
        gained.forEach(partition -> clocks.put(partition, Long.MIN_VALUE));
        kafka.assign(clocks.keySet());
        kafka.seekToBeginning(gained);
        if (log.hasEnd()) {
            ends.putAll(log.ends.isEmpty() ? kafka.endOffsets(gained) : log.ends);
        }
    }

    /** Puts the versions of records into the table and moves the clocks. */
    private void take(Iterable<ConsumerRecord<byte[], byte[]>> records) throws IOException {
        for (ConsumerRecord<byte[], byte[]> record : records) {
            TopicPartition partition = new TopicPartition(record.topic(), record.partition());
            if (record.offset() < ends.getOrDefault(partition, Long.MAX_VALUE)) {
                long latest = timestamps.merge(partition, record.timestamp(), Math::max);
                decoder.decode(record, latest, table);
                if (!log.bounded) {
                    clocks.merge(partition, log.clock.after(latest).getTimestamp(), Math::max);
                }
            }
        }
    }

    private void finish(Consumer<byte[], byte[]> kafka) {
        ends.forEach((partition, end) -> {
            if (kafka.position(partition) >= end) {
                clocks.put(partition, Long.MAX_VALUE);
            }
        });
    }

    /** The clock of a partition that is read to its end goes on, where the broker dates the records. */
    private void clocksAtEnds(Consumer<byte[], byte[]> kafka, Admin admin) throws InterruptedException {
        Instant now = Instant.now();
        if (now.isBefore(askedForEnds.plus(ASK_FOR_ENDS))) {
            return;
        }
        askedForEnds = now;
        Map<TopicPartition, OffsetSpec> questions = new HashMap<>();
        clocks.keySet().forEach(partition -> questions.put(partition, OffsetSpec.latest()));
        try {
            admin.listOffsets(questions).all().get().forEach((partition, end) -> {
                if (kafka.position(partition) >= end.offset()) {
                    clocks.merge(partition, log.clock.atEnd(now.toEpochMilli()).getTimestamp(), Math::max);
                }
            });
        } catch (ExecutionException e) {
            return; // asked again in a second; the clocks wait
        }
    }

    private void again(Consumer<byte[], byte[]> kafka) {
        if (!readAgainTo.isEmpty()) {
            if (readAgainTo.entrySet().stream().allMatch(to -> kafka.position(to.getKey()) >= to.getValue())) {
                readAgainTo = Map.of();
                table.holdsAll();
            }
            return;
        }
        synchronized (this) {
            if (!readAgain) {
                return;
            }
            readAgain = false;
        }
        if (!table.holds(Long.MIN_VALUE)) {
            Map<TopicPartition, Long> positions = new HashMap<>();
            clocks.keySet().forEach(partition -> positions.put(partition, kafka.position(partition)));
            kafka.seekToBeginning(positions.keySet());
            timestamps.clear();
            readAgainTo = positions;
        }
    }

    /** Drops versions of times that nobody asks for any more, judged by two portions that all subtasks looked up in. */
    private synchronized void forget() {
        if (log.hasEnd() || keepAll || table.size() <= keepAtLeast) {
            return;
        }
        long low = lookups.stream().mapToLong(lookup -> lookup.low.get()).max().orElse(Long.MAX_VALUE);
        if (low == Long.MAX_VALUE) {
            return; // one has not asked since
        }
        low = lookups.stream().mapToLong(lookup -> lookup.low.getAndSet(Long.MAX_VALUE)).min().orElse(Long.MIN_VALUE);
        table.forgetBefore(Math.min(low, lowBefore));
        lowBefore = low;
    }
}
