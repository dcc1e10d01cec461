package kappa.log;

import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.util.Collector;

/** The rows of a record, followed by its metadata. */
final class RowDeserializer implements KafkaRecordDeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    /** Metadata columns by their keys in SQL, upper case. */
    enum Metadata {
        TOPIC(DataTypes.STRING().notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return StringData.fromString(record.topic());
            }
        },
        PARTITION(DataTypes.INT().notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return record.partition();
            }
        },
        OFFSET(DataTypes.BIGINT().notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return record.offset();
            }
        },
        TIMESTAMP(DataTypes.TIMESTAMP_LTZ(3).notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return TimestampData.fromEpochMillis(record.timestamp());
            }
        },
        KEY(DataTypes.BYTES().nullable()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return record.key();
            }
        },
        /** Of headers of one name the last counts. */
        HEADERS(DataTypes.MAP(DataTypes.STRING().notNull(), DataTypes.BYTES().nullable()).notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                Map<StringData, byte[]> headers = new HashMap<>();
                record.headers().forEach(header -> headers.put(StringData.fromString(header.key()), header.value()));
                return new GenericMapData(headers);
            }
        },
        /** The greatest timestamp of the partition, up to and including this record's. */
        CLOCK(DataTypes.TIMESTAMP_LTZ(3).notNull()) {
            @Override
            Object of(ConsumerRecord<byte[], byte[]> record, long clock) {
                return TimestampData.fromEpochMillis(clock);
            }
        };

        private final DataType type;

        Metadata(DataType type) {
            this.type = type;
        }

        String key() {
            return name().toLowerCase(Locale.ROOT);
        }

        DataType type() {
            return type;
        }

        abstract Object of(ConsumerRecord<byte[], byte[]> record, long clock);

        /** Null for a key that is none. */
        static Metadata ofKey(String key) {
            return Arrays.stream(values()).filter(column -> column.key().equals(key)).findFirst().orElse(null);
        }
    }

    private final KeyedRows rows;
    private final List<Metadata> metadata;
    private final TypeInformation<RowData> produced;
    private transient WithMetadata collector;

    RowDeserializer(
            KeyedRows rows, List<Metadata> metadata, TypeInformation<RowData> produced) {
        this.rows = rows;
        this.metadata = metadata;
        this.produced = produced;
    }

    @Override
    public void open(DeserializationSchema.InitializationContext context) throws Exception {
        rows.open(context);
        collector = new WithMetadata(metadata.toArray(new Metadata[0]));
    }

    /** The clock of the partition of the records that follow. */
    void setClock(long clock) {
        collector.clock = clock;
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<RowData> out) throws IOException {
        if (metadata.isEmpty()) {
            rows.deserialize(record, out);
            return;
        }
        collector.record = record;
        collector.out = out;
        rows.deserialize(record, collector);
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }

    private static final class WithMetadata implements Collector<RowData> {

        private final Metadata[] metadata;
        private ConsumerRecord<byte[], byte[]> record;
        private long clock;
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
                produced.setField(width + i, metadata[i].of(record, clock));
            }
            out.collect(produced);
        }

        @Override
        public void close() {}
    }
}
