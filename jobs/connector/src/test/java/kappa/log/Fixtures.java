package kappa.log;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** A topic of two partitions, its records, and an output that notes what it is given. */
final class Fixtures {

    static final TopicPartition ZERO = new TopicPartition("log", 0);
    static final TopicPartition ONE = new TopicPartition("log", 1);

    static final LogClock AN_HOUR = new LogClock(Duration.ofHours(1), null);
    static final LogClock AN_HOUR_BY_THE_BROKER = new LogClock(Duration.ofHours(1), Duration.ofMinutes(1));
    static final long HOUR = 3_600_000;
    static final long MINUTE = 60_000;

    private Fixtures() {}

    static KafkaPartitionSplit from(TopicPartition partition, long offset) {
        return new KafkaPartitionSplit(partition, offset);
    }

    static ConsumerRecord<byte[], byte[]> record(TopicPartition partition, long offset, long timestamp, String value) {
        return new ConsumerRecord<>(
                partition.topic(),
                partition.partition(),
                offset,
                timestamp,
                TimestampType.CREATE_TIME,
                0,
                0,
                null,
                value == null ? null : value.getBytes(),
                new RecordHeaders(),
                Optional.empty());
    }

    /** One column, the value as text. */
    static RowDeserializer rows(RowDeserializer.Metadata... metadata) throws Exception {
        RowDeserializer rows = new RowDeserializer(KeyedRows.of(new Text()), List.of(metadata), TypeInformation.of(RowData.class));
        rows.open(null);
        return rows;
    }

    /** The value's first word is the event, the second its time. */
    static Once once() {
        return new Once(new int[] {0}, null, null);
    }

    static Long timeOf(RowData row) {
        return row.isNullAt(0) ? null : Long.valueOf(row.getString(0).toString().split(" ")[1]);
    }

    static final class Text extends AbstractDeserializationSchema<RowData> {
        private static final long serialVersionUID = 1L;

        @Override
        public RowData deserialize(byte[] value) throws IOException {
            return GenericRowData.of(value == null ? null : StringData.fromString(new String(value)));
        }
    }

    /** Notes 'partition: row @ timestamp' and 'partition: watermark', in order; of watermarks, as Flink, those that go on. */
    static class Notes implements ReaderOutput<RowData> {

        final List<String> taken;
        private final Map<String, Long> watermarks;
        private final String split;

        Notes() {
            this(new ArrayList<>(), new HashMap<>(), "");
        }

        private Notes(List<String> taken, Map<String, Long> watermarks, String split) {
            this.taken = taken;
            this.watermarks = watermarks;
            this.split = split;
        }

        @Override
        public SourceOutput<RowData> createOutputForSplit(String id) {
            return new Notes(taken, watermarks, id + ": ");
        }

        @Override
        public void releaseOutputForSplit(String id) {
            taken.add(id + ": finished");
        }

        @Override
        public void collect(RowData row) {
            throw new AssertionError("a record has a timestamp");
        }

        @Override
        public void collect(RowData row, long timestamp) {
            taken.add(split + (row.isNullAt(0) ? null : row.getString(0)) + " @ " + timestamp);
        }

        @Override
        public void emitWatermark(Watermark watermark) {
            Long before = watermarks.get(split);
            if (before == null || before < watermark.getTimestamp()) {
                watermarks.put(split, watermark.getTimestamp());
                taken.add(split + "watermark " + watermark.getTimestamp());
            }
        }

        @Override
        public void markIdle() {
            throw new AssertionError("a partition is never idle");
        }

        @Override
        public void markActive() {
            throw new AssertionError("a partition is never idle");
        }
    }
}
