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
     * The greatest record timestamp so far: by it SQL judges what is late.
     *
     * <p>What is read again after a restart, from the first record held, sees the clock of the checkpoint, which may be
     * later than the one it saw before. What was held passes {@code time >= log clock - L} with either. When it came, it
     * was held because its time was later than the watermark of {@link #clock}, that is at {@code clock - L} or later; at
     * the checkpoint that was still so, or it would have been emitted by then; and {@code clock >= logClock} at any time.
     * What was not held is not emitted again. So a row is judged alike in every run.
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
        long unread = Math.min(next, getCurrentOffset());
        long heldFrom = Math.min(unread, held.firstOffset().orElse(unread));
        return new LogSplit(super.toKafkaPartitionSplit(), clock, logClock, heldFrom);
    }
}
