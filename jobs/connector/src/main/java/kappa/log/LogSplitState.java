package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;

/** How far a partition was read, its clocks there, and the rows that its clock has not passed. */
final class LogSplitState extends KafkaPartitionSplitState {

    private final HeldRows held = new HeldRows();
    private long clock;
    private long logClock;
    private long next;
    private long settled;

    LogSplitState(KafkaPartitionSplit split) {
        super(split);
        clock = LogSplit.clockOf(split);
        logClock = LogSplit.logClockOf(split);
        next = LogSplit.heldFrom(split);
    }

    /** A record of this timestamp is read. */
    void advance(long recordTimestamp) {
        clock = Math.max(clock, recordTimestamp);
        logClock = Math.max(logClock, recordTimestamp);
    }

    /** No later record has an earlier timestamp. That is known by the clock on the wall, so it is none of the log's. */
    void advanceAtEnd(long timestamp) {
        clock = Math.max(clock, timestamp);
    }

    /** What the watermark follows from. */
    long clock() {
        return clock;
    }

    /**
     * The greatest timestamp of the records up to here: by it SQL judges what is late.
     *
     * <p>It is the same in every run, also for what is read again after a restart: a checkpoint has the clock as it was at
     * the first record held, not at the position, so it passes once more through what it was.
     *
     * <p>What is held passes the filter {@code time >= log clock - L}: its time was later than the watermark of {@link
     * #clock}, that is at {@code clock - L} or later, and {@code clock >= logClock} at any time. And what passes the filter
     * is held, or else it is late by the clock on the wall alone (see {@link LogClock#atEnd}) or ahead of the log.
     */
    long logClock() {
        return logClock;
    }

    HeldRows held() {
        return held;
    }

    /** After a restart what is held is read again: the position is behind all that was ever read. */
    @Override
    public void setCurrentOffset(long offset) {
        next = offset;
        super.setCurrentOffset(Math.max(next, getCurrentOffset()));
    }

    /** The watermark that follows from all that was read is emitted. */
    void settle() {
        settled = Math.max(settled, getCurrentOffset());
    }

    /** Where the partition stands. */
    Stand stand() {
        return new Stand(settled, Math.max(0, getCurrentOffset()));
    }

    @Override
    public KafkaPartitionSplit toKafkaPartitionSplit() {
        KafkaPartitionSplit position = super.toKafkaPartitionSplit();
        long unread = Math.min(next, getCurrentOffset());
        HeldRows.Held first = held.first();
        return first == null || first.offset() >= unread
                ? new LogSplit(position, clock, logClock, unread)
                : new LogSplit(position, clock, first.logClock(), first.offset());
    }
}
