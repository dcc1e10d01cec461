package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;

/** How far a partition was read, its clock there, and the rows that its clock has not passed. */
final class LogSplitState extends KafkaPartitionSplitState {

    private final HeldRows held = new HeldRows();
    private long clock;
    private long next;

    LogSplitState(KafkaPartitionSplit split) {
        super(split);
        clock = LogSplit.clockOf(split);
        next = LogSplit.heldFrom(split);
    }

    void advance(long recordTimestamp) {
        clock = Math.max(clock, recordTimestamp);
    }

    long clock() {
        return clock;
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

    @Override
    public KafkaPartitionSplit toKafkaPartitionSplit() {
        long unread = Math.min(next, getCurrentOffset());
        return new LogSplit(super.toKafkaPartitionSplit(), clock, Math.min(unread, held.firstOffset().orElse(unread)));
    }
}
