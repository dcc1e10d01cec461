package kappa.format;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.DeserializationSchema.InitializationContext;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumWriter;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.BinaryEncoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.EncoderFactory;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.util.InstantiationUtil;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/** A table, records in the Confluent wire format, and the format's decoder as a Flink task gets it. */
final class Fixtures {

    static final String FLIGHT =
            """
            {"type": "record", "name": "Flight", "fields": [
              {"name": "carrier", "type": "string"},
              {"name": "day", "type": {"type": "int", "logicalType": "date"}},
              {"name": "seen", "type": {"type": "long", "logicalType": "timestamp-millis"}},
              {"name": "delay", "type": ["null", "int"], "default": null}]}
            """;

    static final DataType TABLE =
            DataTypes.ROW(
                            DataTypes.FIELD("carrier", DataTypes.STRING()),
                            DataTypes.FIELD("day", DataTypes.DATE()),
                            DataTypes.FIELD("seen", DataTypes.TIMESTAMP_LTZ(3)),
                            DataTypes.FIELD("delay", DataTypes.INT()),
                            DataTypes.FIELD("log_value", DataTypes.BYTES()),
                            DataTypes.FIELD("log_error", DataTypes.STRING()))
                    .notNull();

    static final int PAYLOAD = 4;
    static final int ERROR = 5;

    private Fixtures() {}

    static byte[] flight(int id, String carrier, Integer delay) {
        return message(id, FLIGHT, Map.of("carrier", carrier, "day", 15_706, "seen", 1_357_000_000_123L), delay);
    }

    /** A record with these fields (and a delay, where the schema has one) behind magic byte and schema id. */
    static byte[] message(int id, String writerSchema, Map<String, Object> fields, Integer delay) {
        Schema schema = new Schema.Parser().parse(writerSchema);
        GenericRecord record = new GenericData.Record(schema);
        fields.forEach(record::put);
        if (delay != null) {
            record.put("delay", delay);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(header(id));
        try {
            BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
            new GenericDatumWriter<GenericRecord>(schema).write(record, encoder);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }

    static byte[] header(int id) {
        return ByteBuffer.allocate(5).put((byte) 0).putInt(id).array();
    }

    static byte[] join(byte[] first, byte[] second) {
        return ByteBuffer.allocate(first.length + second.length).put(first).put(second).array();
    }

    static DeserializationSchema<RowData> decoder(String url, String... options) throws Exception {
        return open(create(TABLE, url, options), new SimpleCounter());
    }

    static DeserializationSchema<RowData> create(DataType table, String url, String... options) {
        Configuration configuration = new Configuration();
        configuration.setString("url", url);
        configuration.setString("schema", FLIGHT);
        for (int i = 0; i < options.length; i += 2) {
            configuration.setString(options[i], options[i + 1]);
        }
        return new TolerantAvroFormatFactory()
                .createDecodingFormat(null, configuration)
                .createRuntimeDecoder(ScanRuntimeProviderContext.INSTANCE, table);
    }

    /** Sent to a task and opened there. */
    static DeserializationSchema<RowData> open(DeserializationSchema<RowData> schema, Counter counter)
            throws Exception {
        DeserializationSchema<RowData> shipped = InstantiationUtil.clone(schema);
        shipped.open(
                new InitializationContext() {
                    @Override
                    public MetricGroup getMetricGroup() {
                        return new UnregisteredMetricsGroup() {
                            @Override
                            public Counter counter(String name) {
                                return counter;
                            }
                        };
                    }

                    @Override
                    public UserCodeClassLoader getUserCodeClassLoader() {
                        return SimpleUserCodeClassLoader.create(Fixtures.class.getClassLoader());
                    }
                });
        return shipped;
    }
}
