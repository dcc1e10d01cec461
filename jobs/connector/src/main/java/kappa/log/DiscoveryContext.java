package kappa.log;

import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.BiConsumer;
import org.apache.flink.api.connector.source.ReaderInfo;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.SplitsAssignment;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.metrics.groups.SplitEnumeratorMetricGroup;

/**
 * What Kafka's enumerator of a source that ends is given: it tells every reader that there is no more to come.
 *
 * <p>Kafka's own tells it only when it found partitions that it did not know. One that was restored knows them all, and
 * its readers would wait for ever: no last watermark, and what joins them stands still (FLINK-31006, open in 4.0 and
 * 5.0). Here discovery is over once nothing that was asked of the broker is outstanding.
 *
 * <p>A reader is told once for each registration: it may have ended since, and an event to a task that has ended fails the
 * job.
 */
final class DiscoveryContext implements SplitEnumeratorContext<KafkaPartitionSplit> {

    private final SplitEnumeratorContext<KafkaPartitionSplit> context;
    private final Set<Integer> told = new HashSet<>();
    private int outstanding;
    private boolean over;

    DiscoveryContext(SplitEnumeratorContext<KafkaPartitionSplit> context) {
        this.context = context;
    }

    /** A reader registers: for the first time, or again after it was lost. */
    void registers(int subtask) {
        told.remove(subtask);
    }

    /** It has been assigned what there is for it. */
    void hasRegistered(int subtask) {
        if (over) {
            signalNoMoreSplits(subtask);
        }
    }

    @Override
    public void signalNoMoreSplits(int subtask) {
        if (told.add(subtask)) {
            context.signalNoMoreSplits(subtask);
        }
    }

    @Override
    public <T> void callAsync(Callable<T> callable, BiConsumer<T, Throwable> handler) {
        outstanding++;
        context.callAsync(
                callable,
                (T answer, Throwable error) -> {
                    outstanding--;
                    handler.accept(answer, error); // which may ask further
                    if (outstanding == 0) {
                        over = true;
                        Set.copyOf(context.registeredReaders().keySet()).forEach(this::signalNoMoreSplits);
                    }
                });
    }

    @Override
    public <T> void callAsync(Callable<T> callable, BiConsumer<T, Throwable> handler, long delay, long period) {
        throw new IllegalStateException("A source that ends looks for partitions once");
    }

    @Override
    public SplitEnumeratorMetricGroup metricGroup() {
        return context.metricGroup();
    }

    @Override
    public void sendEventToSourceReader(int subtask, SourceEvent event) {
        context.sendEventToSourceReader(subtask, event);
    }

    @Override
    public int currentParallelism() {
        return context.currentParallelism();
    }

    @Override
    public Map<Integer, ReaderInfo> registeredReaders() {
        return context.registeredReaders();
    }

    @Override
    public void assignSplits(SplitsAssignment<KafkaPartitionSplit> assignments) {
        context.assignSplits(assignments);
    }

    @Override
    public void runInCoordinatorThread(Runnable work) {
        context.runInCoordinatorThread(work);
    }

    @Override
    public void setIsProcessingBacklog(boolean isProcessingBacklog) {
        context.setIsProcessingBacklog(isProcessingBacklog);
    }
}
