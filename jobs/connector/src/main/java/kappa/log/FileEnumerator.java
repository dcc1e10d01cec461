package kappa.log;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.SplitsAssignment;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Assigns the partitions that there are files of, once, and says that there are no more. It takes no checkpoints. */
final class FileEnumerator implements SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> {

    private final SplitEnumeratorContext<KafkaPartitionSplit> context;
    private final RecordFiles files;
    private final Map<TopicPartition, Long> bounds;
    private final List<KafkaPartitionSplit> unassigned = new ArrayList<>();

    FileEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context, RecordFiles files, Map<TopicPartition, Long> bounds) {
        this.context = context;
        this.files = files;
        this.bounds = bounds;
    }

    @Override
    public void start() {
        try {
            files.partitions().keySet().forEach(partition -> unassigned.add(split(partition)));
        } catch (IOException e) {
            throw new UncheckedIOException("The records of " + files.topic() + " cannot be read", e);
        }
    }

    private KafkaPartitionSplit split(TopicPartition partition) {
        long end = bounds.getOrDefault(partition, KafkaPartitionSplit.NO_STOPPING_OFFSET);
        return new KafkaPartitionSplit(partition, KafkaPartitionSplit.EARLIEST_OFFSET, end);
    }

    /** All of a reader's at once: with one of them unknown to it, its clock would not wait for that one. */
    @Override
    public void addReader(int subtask) {
        List<KafkaPartitionSplit> own = new ArrayList<>(unassigned);
        own.removeIf(split -> split.getTopicPartition().partition() % context.currentParallelism() != subtask);
        unassigned.removeAll(own);
        if (!own.isEmpty()) {
            context.assignSplits(new SplitsAssignment<>(Map.of(subtask, own)));
        }
        context.signalNoMoreSplits(subtask);
    }

    @Override
    public void addSplitsBack(List<KafkaPartitionSplit> splits, int subtask) {
        unassigned.addAll(splits);
    }

    @Override
    public void handleSplitRequest(int subtask, String host) {} // they are assigned without being asked for

    @Override
    public KafkaSourceEnumState snapshotState(long checkpoint) {
        throw new UnsupportedOperationException("Records in files are read without checkpoints");
    }

    @Override
    public void close() {}
}
