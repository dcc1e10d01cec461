package kappa.format;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;

/**
 * The table format {@code avro-tolerant}: Avro whose schemas are options, so that no registry is asked. Rows are as
 * {@link TolerantAvroFormatFactory} has them.
 */
public final class FolderAvroFormatFactory implements DeserializationFormatFactory {

    static final String IDENTIFIER = "avro-tolerant";

    static final ConfigOption<String> WRITERS =
            ConfigOptions.key("writers")
                    .stringType()
                    .noDefaultValue()
                    .withDescription(
                            "A list, in JSON, of the texts of Avro schemas: each value is behind the fingerprint of the "
                                    + "one that it was written with (Avro's single-object encoding). Without it values "
                                    + "are bodies alone, written with the option 'schema'.");

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
        return Set.of(WRITERS, Envelope.OF_KEY);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        String schema = options.get(RecordDecoderFormat.SCHEMA);
        List<String> writers = writers(options.get(WRITERS));
        return RecordDecoderFormat.ofSchema(
                IDENTIFIER, options.get(Envelope.OF_KEY), schema, () -> new AvroDecoder(schema, writers));
    }

    private static List<String> writers(String option) {
        if (option == null) {
            return null;
        }
        List<String> found = new ArrayList<>();
        try {
            for (JsonNode text : new ObjectMapper().readTree(option)) {
                AvroDecoder.parse(text.asText());
                found.add(text.asText());
            }
        } catch (JsonProcessingException | AvroRuntimeException e) {
            throw new ValidationException(
                    String.format(
                            "The option 'writers' of the format '%s' is no list of Avro schemas: %s",
                            IDENTIFIER, e.getMessage()));
        }
        return found;
    }
}
