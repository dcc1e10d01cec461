package org.apache.flink.connector.kafka.source.reader;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * The connector's split reader, with the positions of its consumer.
 *
 * <p>They stand behind transaction markers and aborted records, which no record's offset does. It lives in the
 * connector's package, the only one to which the connector shows its consumer.
 */
public class PositionedSplitReader extends KafkaPartitionSplitReader {

    /** So many records from the end of a partition a reader counts as caught up: some fetches. */
    private static final long NEAR = 10_000;

    private final AtomicBoolean caughtUp;

    /** {@code caughtUp} is set as soon as every partition has been near its end at once. */
    public PositionedSplitReader(
            Properties properties,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            AtomicBoolean caughtUp) {
        super(properties, context, metrics);
        this.caughtUp = caughtUp;
    }

    @Override
    public RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> fetch() throws IOException {
        RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records = super.fetch();
        if (!caughtUp.get() && !assigned().isEmpty() && assigned().stream().allMatch(this::nearItsEnd)) {
            caughtUp.set(true);
        }
        return records;
    }

    private boolean nearItsEnd(TopicPartition partition) {
        return consumer().currentLag(partition).orElse(Long.MAX_VALUE) <= NEAR;
    }

    /** Watermark alignment may ask for a partition that was read to its end and given back a moment ago. */
    @Override
    public void pauseOrResumeSplits(
            Collection<KafkaPartitionSplit> splitsToPause, Collection<KafkaPartitionSplit> splitsToResume) {
        super.pauseOrResumeSplits(stillAssigned(splitsToPause), stillAssigned(splitsToResume));
    }

    private List<KafkaPartitionSplit> stillAssigned(Collection<KafkaPartitionSplit> splits) {
        return splits.stream().filter(split -> assigned().contains(split.getTopicPartition())).toList();
    }

    protected final Set<TopicPartition> assigned() {
        return consumer().assignment();
    }

    /** The offset of the next record to fetch: all before it were returned. */
    protected final long position(TopicPartition partition) {
        return getConsumerPosition(partition, "comparing it with the end of the log");
    }
}
