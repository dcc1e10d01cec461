package kappa.format;

import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.formats.avro.registry.confluent.AvroConfluentFormatOptions;
import org.apache.flink.formats.avro.registry.confluent.RegistryAvroFormatFactory;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * The table format {@code avro-confluent-tolerant}: Flink's {@code avro-confluent}, for reading, which turns a record
 * that cannot be decoded into a row instead of failing the job.
 *
 * <p>The option {@code schema} is the reader schema, to which Avro resolves what a record was written with. The table's
 * physical columns are its fields, of the types of {@link AvroType}, followed by {@code log_value BYTES, log_error STRING}:
 *
 * <ul>
 *   <li>a good record: its columns, its bytes in {@code log_value}, {@code log_error} NULL;
 *   <li>an undecodable one: its bytes in {@code log_value}, the reason in {@code log_error}, every other column NULL;
 *   <li>a tombstone (no value): every column NULL. It is emitted, so its timestamp moves the watermark.
 * </ul>
 *
 * <p>Every column must therefore be nullable; NOT NULL is refused.
 *
 * <p>A registry that is down is not the record's fault: look-ups are repeated, and then the job fails and restarts.
 */
public final class TolerantAvroFormatFactory implements DeserializationFormatFactory {

    static final String IDENTIFIER = "avro-confluent-tolerant";

    static final ConfigOption<Duration> UNKNOWN_ID_TTL =
            ConfigOptions.key("unknown-id.ttl")
                    .durationType()
                    .defaultValue(Duration.ofSeconds(10))
                    .withDescription(
                            "How long a schema id that the registry does not know is not asked for again. "
                                    + "Its records are undecodable until then.");

    static final ConfigOption<Duration> REGISTRY_TIMEOUT =
            ConfigOptions.key("registry.timeout")
                    .durationType()
                    .defaultValue(Duration.ofSeconds(60))
                    .withDescription("How long to repeat a look-up while the registry is down, before the job fails.");

    static final ConfigOption<String> SCHEMAS =
            ConfigOptions.key("schemas")
                    .stringType()
                    .noDefaultValue()
                    .withDescription(
                            "A file with the schemas that records were written with, {\"id\": \"schema\"}, which is asked "
                                    + "in the place of the registry.");

    private final RegistryAvroFormatFactory strict = new RegistryAvroFormatFactory();

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        Set<ConfigOption<?>> options = new HashSet<>(strict.requiredOptions());
        options.add(AvroConfluentFormatOptions.SCHEMA);
        return options;
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        Set<ConfigOption<?>> options = new HashSet<>(strict.optionalOptions());
        options.add(Envelope.OF_KEY);
        options.add(UNKNOWN_ID_TTL);
        options.add(REGISTRY_TIMEOUT);
        options.add(SCHEMAS);
        options.remove(AvroConfluentFormatOptions.SCHEMA);
        return options;
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        return new DecodingFormat<>() {
            @Override
            public DeserializationSchema<RowData> createRuntimeDecoder(
                    DynamicTableSource.Context context, DataType physicalType) {
                RowType table = (RowType) physicalType.getLogicalType();
                boolean isKey = options.get(Envelope.OF_KEY);
                RowType columns =
                        isKey ? new RowType(false, table.getFields()) : Envelope.recordColumns(table, IDENTIFIER);
                String schema = options.get(AvroConfluentFormatOptions.SCHEMA);
                Envelope.checkColumns(columns, schema, IDENTIFIER);
                TolerantAvroDeserializationSchema tolerant =
                        new TolerantAvroDeserializationSchema(
                                schema,
                                columns.getFieldCount(),
                                registry(options),
                                options.get(SCHEMAS),
                                context.createTypeInformation(physicalType));
                return isKey ? new AvroKeyDeserializationSchema(tolerant, columns.getFieldCount()) : tolerant;
            }

            @Override
            public ChangelogMode getChangelogMode() {
                return ChangelogMode.insertOnly();
            }
        };
    }

    private static WriterSchemas.Settings registry(ReadableConfig options) {
        Map<String, String> properties = RegistryAvroFormatFactory.buildOptionalPropertiesMap(options);
        return new WriterSchemas.Settings(
                options.get(AvroConfluentFormatOptions.URL),
                properties == null ? new HashMap<>() : new HashMap<>(properties),
                options.get(UNKNOWN_ID_TTL),
                options.get(REGISTRY_TIMEOUT));
    }
}
