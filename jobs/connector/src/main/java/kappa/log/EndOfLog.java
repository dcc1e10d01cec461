package kappa.log;

import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** All before it are what the partition held when the broker was asked. */
final class EndOfLog extends Mark {

    private final long askedAt;

    EndOfLog(TopicPartition partition, long end, long askedAt) {
        super(partition, end);
        this.askedAt = askedAt;
    }

    /** Milliseconds since the epoch, by the TaskManager's clock, before the broker was asked. */
    long askedAt() {
        return askedAt;
    }
}
