package kappa.format;

import java.util.function.Function;
import java.util.function.Supplier;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/** A format of values, in a table that ends with the {@link Envelope}, or of keys, in one that does not. */
final class RecordDecoderFormat implements DecodingFormat<DeserializationSchema<RowData>> {

    static final ConfigOption<String> SCHEMA =
            ConfigOptions.key("schema").stringType().noDefaultValue().withDescription("The columns, as an Avro schema.");

    private final String identifier;
    private final boolean isKey;
    private final Function<RowType, RecordDecoder> decoder;

    /** @param decoder what decodes into these columns; ValidationException if they are not the format's */
    RecordDecoderFormat(String identifier, boolean isKey, Function<RowType, RecordDecoder> decoder) {
        this.identifier = identifier;
        this.isKey = isKey;
        this.decoder = decoder;
    }

    /** The same of a format whose columns the option {@link #SCHEMA} has. */
    static RecordDecoderFormat ofSchema(
            String identifier, boolean isKey, String schema, Supplier<RecordDecoder> decoder) {
        return new RecordDecoderFormat(
                identifier,
                isKey,
                columns -> {
                    Envelope.checkColumns(columns, schema, identifier);
                    return decoder.get();
                });
    }

    @Override
    public DeserializationSchema<RowData> createRuntimeDecoder(DynamicTableSource.Context context, DataType physicalType) {
        RowType table = (RowType) physicalType.getLogicalType();
        if (isKey) {
            RowType key = new RowType(false, table.getFields());
            return new KeyDeserializationSchema(
                    decoder.apply(key), key.getFieldCount(), context.createTypeInformation(physicalType));
        }
        RowType columns = Envelope.recordColumns(table, identifier);
        return new TolerantDeserializationSchema(
                decoder.apply(columns), columns.getFieldCount(), context.createTypeInformation(physicalType));
    }

    @Override
    public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
    }
}
