package kappa.format;

import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoField;
import java.util.HexFormat;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.JsonNodeFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LocalZonedTimestampType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.TimestampType;

/** A row as JSON in which every value can be told from every other, as tests/unit/avro_vectors.py has it in Python. */
final class Rendered {

    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

    private Rendered() {}

    static JsonNode of(Object value, LogicalType type) {
        if (value == null) {
            return JSON.nullNode();
        }
        return switch (type.getTypeRoot()) {
            case BOOLEAN -> JSON.booleanNode((Boolean) value);
            case INTEGER -> JSON.numberNode((Integer) value);
            case BIGINT -> JSON.numberNode((Long) value);
            case FLOAT -> JSON.textNode(real((Float) value));
            case DOUBLE -> JSON.textNode(real((Double) value));
            case VARCHAR -> JSON.textNode(value.toString());
            case VARBINARY -> JSON.textNode(HexFormat.of().formatHex((byte[]) value));
            case DECIMAL -> JSON.textNode(((DecimalData) value).toBigDecimal().toPlainString());
            case DATE -> JSON.textNode(LocalDate.ofEpochDay((Integer) value).toString());
            case TIME_WITHOUT_TIME_ZONE ->
                    JSON.textNode(
                            LocalTime.ofNanoOfDay((Integer) value * 1_000_000L)
                                    .format(DateTimeFormatter.ofPattern("HH:mm:ss.SSS")));
            case TIMESTAMP_WITHOUT_TIME_ZONE ->
                    JSON.textNode(time((TimestampData) value, ((TimestampType) type).getPrecision()));
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE ->
                    JSON.textNode(time((TimestampData) value, ((LocalZonedTimestampType) type).getPrecision()) + "Z");
            case ARRAY -> array((ArrayData) value, ((ArrayType) type).getElementType());
            case MAP -> map((MapData) value, ((MapType) type).getValueType());
            case ROW -> row((RowData) value, (RowType) type);
            default -> throw new IllegalArgumentException(type.asSummaryString());
        };
    }

    /** All digits of the binary number: another language's shortest form may be another. */
    private static String real(double value) {
        if (Double.isNaN(value) || Double.isInfinite(value)) {
            return String.valueOf(value);
        }
        String sign = value == 0 && 1 / value < 0 ? "-" : "";
        return sign + new BigDecimal(value).toPlainString();
    }

    private static String time(TimestampData value, int precision) {
        LocalDateTime time =
                LocalDateTime.ofEpochSecond(
                        Math.floorDiv(value.getMillisecond(), 1_000L),
                        (int) Math.floorMod(value.getMillisecond(), 1_000L) * 1_000_000 + value.getNanoOfMillisecond(),
                        ZoneOffset.UTC);
        return time.format(
                new DateTimeFormatterBuilder()
                        .appendPattern("uuuu-MM-dd'T'HH:mm:ss")
                        .appendFraction(ChronoField.NANO_OF_SECOND, precision, precision, true)
                        .toFormatter());
    }

    private static JsonNode array(ArrayData items, LogicalType type) {
        ArrayNode found = JSON.arrayNode();
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type);
        for (int i = 0; i < items.size(); i++) {
            found.add(of(getter.getElementOrNull(items, i), type));
        }
        return found;
    }

    private static JsonNode map(MapData entries, LogicalType type) {
        ObjectNode found = JSON.objectNode();
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type);
        for (int i = 0; i < entries.size(); i++) {
            String key = entries.keyArray().getString(i).toString();
            found.set(key, of(getter.getElementOrNull(entries.valueArray(), i), type));
        }
        return found;
    }

    /** A row's first columns: it may have more, of the envelope. */
    static JsonNode row(RowData row, RowType type) {
        ObjectNode found = JSON.objectNode();
        for (int i = 0; i < type.getFieldCount(); i++) {
            LogicalType column = type.getTypeAt(i);
            Object value = RowData.createFieldGetter(column, i).getFieldOrNull(row);
            found.set(type.getFieldNames().get(i), of(value, column));
        }
        return found;
    }
}
