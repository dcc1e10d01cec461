package kappa.format;

import java.util.List;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.RowType.RowField;

/** The columns behind those of a record: its bytes, and why they could not be decoded. */
final class Envelope {

    private static final List<RowField> COLUMNS =
            List.of(
                    new RowField("log_value", DataTypes.BYTES().getLogicalType()),
                    new RowField("log_error", DataTypes.STRING().getLogicalType()));

    static final ConfigOption<Boolean> OF_KEY =
            ConfigOptions.key("of-key")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription("The columns are those of a record's key, which end with no envelope.");

    private Envelope() {}

    private static boolean ends(RowType table) {
        int width = table.getFieldCount() - COLUMNS.size();
        return width >= 1 && sameFields(table.getFields().subList(width, table.getFieldCount()), COLUMNS);
    }

    /** The columns that come from the record: all but the last two, which must be the envelope's. */
    static RowType recordColumns(RowType table, String format) {
        if (!ends(table)) {
            throw new ValidationException(
                    String.format(
                            "A table in the format '%s' ends with the columns 'log_value BYTES, log_error STRING'. Found: %s",
                            format, table.asSummaryString()));
        }
        for (RowField field : table.getFields()) {
            if (!field.getType().isNullable()) {
                throw new ValidationException(
                        String.format(
                                "Column '%s' is NOT NULL, but a record that cannot be decoded leaves it NULL in the "
                                        + "format '%s'. Declare it without NOT NULL.",
                                field.getName(), format));
            }
        }
        return new RowType(false, table.getFields().subList(0, table.getFieldCount() - COLUMNS.size()));
    }

    private static boolean sameFields(List<RowField> found, List<RowField> expected) {
        for (int i = 0; i < expected.size(); i++) {
            if (!found.get(i).getName().equals(expected.get(i).getName())
                    || !found.get(i).getType().equals(expected.get(i).getType())) {
                return false;
            }
        }
        return true;
    }

    /** A column that is not what the schema says would be NULL in every row, or another value. */
    static void checkColumns(RowType columns, String schema, String format) {
        RowType expected;
        try {
            expected = AvroType.columns(ReaderSchema.parse(schema).schema());
        } catch (AvroRuntimeException e) {
            throw new ValidationException(
                    String.format("The option 'schema' of the format '%s' is no Avro schema: %s", format, e.getMessage()));
        }
        if (!columns.equals(expected)) {
            throw new ValidationException(
                    String.format(
                            "The columns of a table in the format '%s' are the fields of the option 'schema'.\n"
                                    + "Expected: %s\nFound:    %s",
                            format, expected.asSummaryString(), columns.asSummaryString()));
        }
    }
}
