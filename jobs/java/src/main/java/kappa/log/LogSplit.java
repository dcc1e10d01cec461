package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;

/** A partition to read from its starting offset, with the partition's clock: the latest timestamp below that offset. */
final class LogSplit extends KafkaPartitionSplit {

    /** Of a partition from which no record was read, or none since its clock is remembered. */
    static final long NO_CLOCK = Long.MIN_VALUE;

    private final long clock;

    LogSplit(KafkaPartitionSplit split, long clock) {
        super(
                split.getTopicPartition(),
                split.getStartingOffset(),
                split.getStoppingOffset().orElse(NO_STOPPING_OFFSET));
        this.clock = clock;
    }

    /** The clock of any split; one fresh from the enumerator has none. */
    static long clockOf(KafkaPartitionSplit split) {
        return split instanceof LogSplit read ? read.clock : NO_CLOCK;
    }
}
