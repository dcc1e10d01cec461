package kappa.log;

import java.io.IOException;
import java.util.List;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.util.Collector;

/** The rows of a record's value, followed by metadata of the record. The connector keeps its own to itself. */
final class RowDeserializer implements KafkaRecordDeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    /** Metadata columns by their keys in SQL, upper case. */
    enum Metadata {
        TOPIC {
            @Override
            Object of(ConsumerRecord<?, ?> record) {
                return StringData.fromString(record.topic());
            }
        },
        PARTITION {
            @Override
            Object of(ConsumerRecord<?, ?> record) {
                return record.partition();
            }
        },
        OFFSET {
            @Override
            Object of(ConsumerRecord<?, ?> record) {
                return record.offset();
            }
        },
        TIMESTAMP {
            @Override
            Object of(ConsumerRecord<?, ?> record) {
                return TimestampData.fromEpochMillis(record.timestamp());
            }
        };

        abstract Object of(ConsumerRecord<?, ?> record);
    }

    private final DeserializationSchema<RowData> value;
    private final List<Metadata> metadata;
    private final TypeInformation<RowData> produced;
    private transient WithMetadata collector;

    RowDeserializer(
            DeserializationSchema<RowData> value, List<Metadata> metadata, TypeInformation<RowData> produced) {
        this.value = value;
        this.metadata = metadata;
        this.produced = produced;
    }

    @Override
    public void open(DeserializationSchema.InitializationContext context) throws Exception {
        value.open(context);
        collector = new WithMetadata(metadata.toArray(new Metadata[0]));
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<RowData> out) throws IOException {
        if (metadata.isEmpty()) {
            value.deserialize(record.value(), out);
            return;
        }
        collector.record = record;
        collector.out = out;
        value.deserialize(record.value(), collector);
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }

    private static final class WithMetadata implements Collector<RowData> {

        private final Metadata[] metadata;
        private ConsumerRecord<?, ?> record;
        private Collector<RowData> out;

        WithMetadata(Metadata[] metadata) {
            this.metadata = metadata;
        }

        @Override
        public void collect(RowData row) {
            GenericRowData columns = (GenericRowData) row;
            int width = columns.getArity();
            GenericRowData produced = new GenericRowData(columns.getRowKind(), width + metadata.length);
            for (int i = 0; i < width; i++) {
                produced.setField(i, columns.getField(i));
            }
            for (int i = 0; i < metadata.length; i++) {
                produced.setField(width + i, metadata[i].of(record));
            }
            out.collect(produced);
        }

        @Override
        public void close() {}
    }
}
