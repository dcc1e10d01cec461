package kappa.format;

import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;

/**
 * The table format {@code protobuf-tolerant}: one message a record, as the option {@code schema} reads it: an Avro schema
 * whose attributes {@code protobuf} say how the fields are written (jobs/product/protobuf_columns.py).
 */
public final class ProtobufFormatFactory implements DeserializationFormatFactory {

    static final String IDENTIFIER = "protobuf-tolerant";

    static final ConfigOption<Boolean> FRAMED =
            ConfigOptions.key("framed")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription(
                            "A magic byte, a schema id and the message's indexes stand before each message; the id is "
                                    + "passed over.");

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(RecordDecoderFormat.SCHEMA);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(FRAMED);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        String schema = options.get(RecordDecoderFormat.SCHEMA);
        return RecordDecoderFormat.ofSchema(
                IDENTIFIER, false, schema, () -> new ProtobufDecoder(schema, options.get(FRAMED)));
    }
}
