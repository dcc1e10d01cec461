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
 * The table format {@code json-tolerant}: documents of JSON, one a record, as the option {@code schema} reads them: an Avro
 * schema whose attributes {@code json} say how JSON writes what Avro has no type for (jobs/product/json_columns.py).
 */
public final class TolerantJsonFormatFactory implements DeserializationFormatFactory {

    static final String IDENTIFIER = "json-tolerant";

    static final ConfigOption<Boolean> FRAMED =
            ConfigOptions.key("framed")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription("A magic byte and a schema id stand before each document; the id is passed over.");

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
        return Set.of(FRAMED, Envelope.OF_KEY);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        String schema = options.get(RecordDecoderFormat.SCHEMA);
        return RecordDecoderFormat.ofSchema(
                IDENTIFIER, options.get(Envelope.OF_KEY), schema, () -> new JsonDecoder(schema, options.get(FRAMED)));
    }
}
