package kappa.log;

import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;

/** How far a partition was read, and its clock there. */
final class LogSplitState extends KafkaPartitionSplitState {

    private long clock;

    LogSplitState(KafkaPartitionSplit split) {
        super(split);
        clock = LogSplit.clockOf(split);
    }

    void advance(long recordTimestamp) {
        clock = Math.max(clock, recordTimestamp);
    }

    @Override
    public KafkaPartitionSplit toKafkaPartitionSplit() {
        return new LogSplit(super.toKafkaPartitionSplit(), clock);
    }
}
