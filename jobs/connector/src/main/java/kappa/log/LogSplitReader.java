package kappa.log;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.ToLongFunction;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.reader.PositionedSplitReader;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * Tells behind each batch how far it takes each partition.
 *
 * <p>The offset behind the last record does not say it: a log may end in transaction markers and aborted records, which
 * no record's offset ever reaches. The consumer's position does, and stands at the last stable offset at most.
 */
class LogSplitReader extends PositionedSplitReader {

    private final Map<TopicPartition, Long> told = new HashMap<>();

    LogSplitReader(
            Properties properties,
            SourceReaderContext context,
            KafkaSourceReaderMetrics metrics,
            AtomicBoolean caughtUp) {
        super(properties, context, metrics, caughtUp);
    }

    @Override
    public RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> fetch() throws IOException {
        RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records = super.fetch();
        List<Mark> marks = new ArrayList<>(passed(assigned(), this::position, told));
        marks.addAll(reached());
        return marks.isEmpty() ? records : new RecordsThenMarks(records, marks);
    }

    /** What else is known behind the records that were just fetched. */
    List<? extends Mark> reached() {
        return List.of();
    }

    /** The partitions that were taken further since it was last told. */
    static List<Passed> passed(
            Collection<TopicPartition> partitions,
            ToLongFunction<TopicPartition> position,
            Map<TopicPartition, Long> told) {
        List<Passed> passed = new ArrayList<>();
        for (TopicPartition partition : partitions) {
            long now = position.applyAsLong(partition);
            Long before = told.put(partition, now);
            if (before == null || before != now) {
                passed.add(new Passed(partition, now));
            }
        }
        return passed;
    }
}
