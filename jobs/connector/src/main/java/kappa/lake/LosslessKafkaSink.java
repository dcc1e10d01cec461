package kappa.lake;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.flink.api.connector.sink2.Committer;
import org.apache.flink.api.connector.sink2.CommitterInitContext;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.connector.kafka.sink.KafkaCommittable;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaWriterState;
import org.apache.flink.connector.kafka.sink.TwoPhaseCommittingStatefulSink;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.streaming.api.connector.sink2.CommittableMessage;
import org.apache.flink.streaming.api.connector.sink2.SupportsPostCommitTopology;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * Flink's Kafka sink, which fails where a transaction of a completed checkpoint can no longer be committed.
 *
 * <p>The broker aborts a transaction that is open for longer than {@code transaction.timeout.ms}. If that happens between a
 * checkpoint and the commit, its rows are gone, and Flink's own sink says so in the log and goes on.
 */
final class LosslessKafkaSink<T>
        implements TwoPhaseCommittingStatefulSink<T, KafkaWriterState, KafkaCommittable>,
                SupportsPostCommitTopology<KafkaCommittable> {

    private static final long serialVersionUID = 1L;

    private final KafkaSink<T> sink;
    private final String topic;

    LosslessKafkaSink(KafkaSink<T> sink, String topic) {
        this.sink = sink;
        this.topic = topic;
    }

    @Override
    public PrecommittingStatefulSinkWriter<T, KafkaWriterState, KafkaCommittable> createWriter(WriterInitContext context)
            throws IOException {
        return sink.createWriter(context);
    }

    @Override
    public PrecommittingStatefulSinkWriter<T, KafkaWriterState, KafkaCommittable> restoreWriter(
            WriterInitContext context, Collection<KafkaWriterState> state) throws IOException {
        return sink.restoreWriter(context, state);
    }

    @Override
    public SimpleVersionedSerializer<KafkaWriterState> getWriterStateSerializer() {
        return sink.getWriterStateSerializer();
    }

    @Override
    public Committer<KafkaCommittable> createCommitter(CommitterInitContext context) {
        return new LosslessCommitter(sink.createCommitter(context), topic);
    }

    @Override
    public SimpleVersionedSerializer<KafkaCommittable> getCommittableSerializer() {
        return sink.getCommittableSerializer();
    }

    @Override
    public void addPostCommitTopology(DataStream<CommittableMessage<KafkaCommittable>> committables) {
        sink.addPostCommitTopology(committables);
    }

    /** Hands requests on, and throws where one of them is said to have failed for good. */
    static final class LosslessCommitter implements Committer<KafkaCommittable> {

        private final Committer<KafkaCommittable> committer;
        private final String topic;

        LosslessCommitter(Committer<KafkaCommittable> committer, String topic) {
            this.committer = committer;
            this.topic = topic;
        }

        @Override
        public void commit(Collection<CommitRequest<KafkaCommittable>> requests) throws IOException, InterruptedException {
            List<CommitRequest<KafkaCommittable>> strict =
                    requests.stream().map(request -> new StrictRequest(request, topic)).collect(Collectors.toList());
            committer.commit(strict);
        }

        @Override
        public void close() throws Exception {
            committer.close();
        }
    }

    private record StrictRequest(Committer.CommitRequest<KafkaCommittable> request, String topic)
            implements Committer.CommitRequest<KafkaCommittable> {

        @Override
        public KafkaCommittable getCommittable() {
            return request.getCommittable();
        }

        @Override
        public int getNumberOfRetries() {
            return request.getNumberOfRetries();
        }

        @Override
        public void signalFailedWithKnownReason(Throwable reason) {
            throw new FlinkRuntimeException(
                    String.format(
                            "The transaction %s of a completed checkpoint cannot be committed any more, and topic %s would "
                                    + "lack its rows: the broker has aborted it, as it does when it is open for longer than "
                                    + "transaction.timeout.ms. The tables are whole. A new attempt writes a whole topic: "
                                    + "kappa deploy PRODUCT --again",
                            getCommittable().getTransactionalId(), topic),
                    reason);
        }

        @Override
        public void signalFailedWithUnknownReason(Throwable reason) {
            request.signalFailedWithUnknownReason(reason);
        }

        @Override
        public void retryLater() {
            request.retryLater();
        }

        @Override
        public void updateAndRetryLater(KafkaCommittable committable) {
            request.updateAndRetryLater(committable);
        }

        @Override
        public void signalAlreadyCommitted() {
            request.signalAlreadyCommitted();
        }
    }
}
