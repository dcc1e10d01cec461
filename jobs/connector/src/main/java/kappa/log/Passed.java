package kappa.log;

import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * Every record of a partition below this offset stands before it; the other offsets below it are transaction markers and
 * aborted records.
 */
final class Passed extends Mark {

    Passed(TopicPartition partition, long position) {
        super(partition, position);
    }
}
