package kappa.log;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.flink.connector.base.source.reader.RecordsBySplits;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsAddition;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsChange;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Hands out records of files, in place of Kafka's: those of each partition in order, and of all partitions the one next
 * whose record is the oldest, so that none is far ahead of the others.
 */
final class FileSplitReader implements SplitReader<ConsumerRecord<byte[], byte[]>, KafkaPartitionSplit> {

    private static final int RECORDS_AT_ONCE = 500;
    private static final long WAIT_MILLIS = 100;

    /** A partition that is read, and its next record; null behind the last. */
    private static final class Reading {

        private final String split;
        private final long from;
        private final long to;
        private final RecordFiles.Reader file;
        private ConsumerRecord<byte[], byte[]> next;

        Reading(KafkaPartitionSplit split, RecordFiles.Reader file) {
            this.split = split.splitId();
            this.from = split.getStartingOffset(); // negative for the earliest
            this.to = split.getStoppingOffset().orElse(Long.MAX_VALUE);
            this.file = file;
            advance();
        }

        void advance() {
            do {
                next = file.hasNext() ? file.next() : null;
            } while (next != null && next.offset() < from);
            if (next != null && next.offset() >= to) {
                next = null;
            }
        }

        boolean isAtEnd() {
            return next == null;
        }

        long timestamp() {
            return isAtEnd() ? Long.MIN_VALUE : next.timestamp();
        }
    }

    private final RecordFiles files;
    private final List<Reading> open = new ArrayList<>();
    private final Set<String> paused = new HashSet<>();
    private final Semaphore woken = new Semaphore(0);

    FileSplitReader(RecordFiles files) {
        this.files = files;
    }

    @Override
    public RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> fetch() throws IOException {
        RecordsBySplits.Builder<ConsumerRecord<byte[], byte[]>> records = new RecordsBySplits.Builder<>();
        for (int i = 0; i < RECORDS_AT_ONCE; i++) {
            Optional<Reading> next = open.stream().filter(this::mayBeRead).min(Comparator.comparingLong(Reading::timestamp));
            if (next.isEmpty()) {
                break;
            }
            Reading oldest = next.get();
            if (oldest.isAtEnd()) {
                records.addFinishedSplit(oldest.split);
                oldest.file.close();
                open.remove(oldest);
                return records.build(); // what is finished comes behind its records
            }
            records.add(oldest.split, oldest.next);
            oldest.advance();
        }
        if (open.stream().noneMatch(this::mayBeRead)) {
            await();
        }
        return records.build();
    }

    private boolean mayBeRead(Reading reading) {
        return reading.isAtEnd() || !paused.contains(reading.split);
    }

    /** Until a partition is added or resumed: without it, the thread that fetches would turn in vain. */
    private void await() throws IOException {
        try {
            woken.tryAcquire(WAIT_MILLIS, TimeUnit.MILLISECONDS);
            woken.drainPermits();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("Interrupted while all partitions are paused");
        }
    }

    /** Watermark alignment: partitions wait that are further ahead of those of other subtasks than is allowed. */
    @Override
    public void pauseOrResumeSplits(
            Collection<KafkaPartitionSplit> splitsToPause, Collection<KafkaPartitionSplit> splitsToResume) {
        splitsToPause.forEach(split -> paused.add(split.splitId()));
        splitsToResume.forEach(split -> paused.remove(split.splitId()));
    }

    @Override
    public void handleSplitsChanges(SplitsChange<KafkaPartitionSplit> change) {
        if (!(change instanceof SplitsAddition)) {
            throw new UnsupportedOperationException("Partitions are only added. Found: " + change.getClass());
        }
        try {
            var there = files.partitions();
            for (KafkaPartitionSplit split : change.splits()) {
                var partition = split.getTopicPartition();
                open.add(new Reading(split, new RecordFiles.Reader(partition, there.get(partition))));
            }
        } catch (IOException e) {
            throw new UncheckedIOException("The records of " + files.topic() + " cannot be read", e);
        }
    }

    @Override
    public void wakeUp() {
        woken.release();
    }

    @Override
    public void close() throws IOException {
        for (Reading each : open) {
            each.file.close();
        }
    }
}
