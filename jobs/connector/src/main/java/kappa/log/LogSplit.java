package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;

/** A partition to read from its starting offset, with what is known of the records below that offset. */
final class LogSplit extends KafkaPartitionSplit {

    /** Of a partition from which no record was read, or none since its clock is remembered. */
    static final long NO_CLOCK = Long.MIN_VALUE;

    private final long clock;
    private final long logClock;
    private final long heldFrom;

    /** {@code clock}, {@code logClock}, {@code heldFrom}: see the methods that tell them. */
    LogSplit(KafkaPartitionSplit split, long clock, long logClock, long heldFrom) {
        super(
                split.getTopicPartition(),
                split.getStartingOffset(),
                split.getStoppingOffset().orElse(NO_STOPPING_OFFSET));
        this.clock = clock;
        this.logClock = logClock;
        this.heldFrom = heldFrom;
    }

    /**
     * What the partition's watermark follows from: the greatest timestamp below the starting offset, and with 'once'
     * also the time of an end that was reached. A split fresh from the enumerator has none.
     */
    static long clockOf(KafkaPartitionSplit split) {
        return split instanceof LogSplit read ? read.clock : NO_CLOCK;
    }

    /** The greatest timestamp up to the first record held, from which a restored partition is read again. */
    static long logClockOf(KafkaPartitionSplit split) {
        return split instanceof LogSplit read ? read.logClock : NO_CLOCK;
    }

    /**
     * The offset of the first record of which a row was held, the starting offset if none was.
     *
     * <p>From there a restored partition is read again. What happened at or before the watermark of its clock was
     * emitted; what happened later was not, and is held again. So the rows themselves need not be kept.
     */
    static long heldFrom(KafkaPartitionSplit split) {
        return split instanceof LogSplit read ? read.heldFrom : split.getStartingOffset();
    }

    /** The partition to read from there. */
    static KafkaPartitionSplit fromFirstHeld(KafkaPartitionSplit split) {
        return new KafkaPartitionSplit(
                split.getTopicPartition(), heldFrom(split), split.getStoppingOffset().orElse(NO_STOPPING_OFFSET));
    }
}
