package kappa.log;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Kafka's enumerator, which also writes the position of each checkpoint beside it, and says that the source works off a
 * backlog until every reader has caught up (FLIP-309).
 *
 * <p>Positions: a reader says with each checkpoint where it stands, and the file is written when the checkpoint is
 * complete. A position that is not written, as the JobManager was lost in between, is not claimed: the next one is.
 *
 * <p>Backlog: meanwhile Flink takes checkpoints at {@code execution.checkpointing.interval-during-backlog}: a replay
 * commits a few large files instead of many small ones. A job that is restored begins with a backlog again.
 */
final class LogEnumerator implements SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> {

    private static final Logger LOG = LoggerFactory.getLogger(LogEnumerator.class);

    private final SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> kafka;
    private final SplitEnumeratorContext<KafkaPartitionSplit> context;
    private final DiscoveryContext discovery;
    private final CheckpointPositions positions;
    private final PositionFiles files;
    private final Set<Integer> caughtUp = new HashSet<>();

    /**
     * @param discovery what Kafka's enumerator has of a source that ends, else null. What is read to an end is soon over, or
     *     a reference: it says nothing of how far the job is
     * @param files null where nobody said where checkpoints are
     */
    LogEnumerator(
            SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> kafka,
            SplitEnumeratorContext<KafkaPartitionSplit> context,
            DiscoveryContext discovery,
            Map<TopicPartition, Long> bounds,
            PositionFiles files) {
        this.kafka = kafka;
        this.context = context;
        this.discovery = discovery;
        this.positions = new CheckpointPositions(discovery != null, bounds);
        this.files = files;
    }

    @Override
    public void start() {
        if (discovery == null) {
            context.setIsProcessingBacklog(true);
        }
        if (files != null) {
            try {
                files.announce();
            } catch (IOException e) {
                throw new UncheckedIOException("The positions of checkpoints cannot be written", e);
            }
        }
        kafka.start();
    }

    @Override
    public void handleSourceEvent(int subtask, SourceEvent event) {
        if (event instanceof Positions told) {
            positions.tell(subtask, told);
            write();
        } else if (event instanceof Ended end) {
            positions.end(subtask, end);
            write();
        } else if (event instanceof CaughtUp) {
            catchUp(subtask);
        } else {
            kafka.handleSourceEvent(subtask, event);
        }
    }

    private void catchUp(int subtask) {
        if (caughtUp.add(subtask) && caughtUp.size() == context.currentParallelism() && discovery == null) {
            context.setIsProcessingBacklog(false);
        }
    }

    @Override
    public void handleSplitRequest(int subtask, String host) {
        kafka.handleSplitRequest(subtask, host);
    }

    @Override
    public void addSplitsBack(List<KafkaPartitionSplit> splits, int subtask) {
        kafka.addSplitsBack(splits, subtask);
    }

    @Override
    public void addReader(int subtask) {
        positions.restart(subtask);
        if (discovery == null) {
            kafka.addReader(subtask);
            return;
        }
        discovery.registers(subtask);
        kafka.addReader(subtask);
        discovery.hasRegistered(subtask);
    }

    @Override
    public KafkaSourceEnumState snapshotState(long checkpoint) throws Exception {
        KafkaSourceEnumState state = kafka.snapshotState(checkpoint);
        positions.begin(checkpoint, state);
        return state;
    }

    @Override
    public void notifyCheckpointComplete(long checkpoint) throws Exception {
        kafka.notifyCheckpointComplete(checkpoint);
        positions.complete(checkpoint);
        write();
    }

    @Override
    public void notifyCheckpointAborted(long checkpoint) throws Exception {
        kafka.notifyCheckpointAborted(checkpoint);
        positions.abort(checkpoint);
    }

    /** Writes the positions that have become whole, apart from the coordinator's thread. */
    private void write() {
        positions
                .whole(context.registeredReaders().keySet())
                .forEach((checkpoint, stands) -> {
                    if (files != null) {
                        context.callAsync(() -> written(checkpoint, stands), (done, error) -> judge(checkpoint, error));
                    }
                });
    }

    private Void written(long checkpoint, Map<TopicPartition, Stand> stands) throws IOException {
        files.write(checkpoint, stands);
        return null;
    }

    private static void judge(long checkpoint, Throwable error) {
        if (error != null) {
            LOG.warn("The position of checkpoint {} could not be written: the next one will do", checkpoint, error);
        }
    }

    @Override
    public void close() throws IOException {
        kafka.close();
    }
}
