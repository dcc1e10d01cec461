package kappa.log;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.ToLongFunction;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.kafka.source.KafkaSourceOptions;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.Admin;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.KafkaFuture;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Also tells which partitions are read to their ends: empty ones too.
 *
 * <p>The end is the high watermark, not the last stable offset: records of an open transaction have their timestamps
 * already, so the clock waits for them to be committed or aborted.
 */
final class EndSeeingSplitReader extends LogSplitReader {

    private static final Logger LOG = LoggerFactory.getLogger(EndSeeingSplitReader.class);
    private static final long PAUSE = 1_000;

    private final Admin admin;
    private long askedAt;
    private KafkaFuture<Map<TopicPartition, ListOffsetsResultInfo>> answer;

    EndSeeingSplitReader(
            Properties properties,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            AtomicBoolean caughtUp) {
        super(properties, context, metrics, caughtUp);
        Properties own = new Properties();
        own.putAll(properties);
        own.setProperty(
                ConsumerConfig.CLIENT_ID_CONFIG,
                properties.getProperty(KafkaSourceOptions.CLIENT_ID_PREFIX.key()) + "-ends-" + context.getIndexOfSubtask());
        admin = Admin.create(own);
    }

    @Override
    public RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> fetch() throws IOException {
        if (answer == null && System.currentTimeMillis() - askedAt >= PAUSE && !assigned().isEmpty()) {
            askedAt = System.currentTimeMillis();
            Map<TopicPartition, OffsetSpec> questions = new HashMap<>();
            assigned().forEach(partition -> questions.put(partition, OffsetSpec.latest()));
            answer = admin.listOffsets(questions).all();
        }
        return super.fetch();
    }

    @Override
    List<EndOfLog> reached() {
        if (answer == null || !answer.isDone()) {
            return List.of();
        }
        Map<TopicPartition, Long> ends = ends();
        ends.keySet().retainAll(assigned()); // one that is bounded may have been finished since
        return reached(ends, askedAt, this::position);
    }

    /** Takes the answer; empty if the broker could not give one. */
    private Map<TopicPartition, Long> ends() {
        Map<TopicPartition, Long> ends = new HashMap<>();
        try {
            answer.get().forEach((partition, end) -> ends.put(partition, end.offset()));
        } catch (ExecutionException e) {
            LOG.info("The broker did not name the ends of {}: their clocks wait", assigned(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            answer = null;
        }
        return ends;
    }

    /** The partitions of which everything below the end was returned. */
    static List<EndOfLog> reached(
            Map<TopicPartition, Long> ends, long askedAt, ToLongFunction<TopicPartition> position) {
        List<EndOfLog> reached = new ArrayList<>();
        ends.forEach(
                (partition, end) -> {
                    if (position.applyAsLong(partition) >= end) {
                        reached.add(new EndOfLog(partition, end, askedAt));
                    }
                });
        return reached;
    }

    @Override
    public void close() throws Exception {
        admin.close(Duration.ZERO);
        super.close();
    }
}
