package kappa.lines;

import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.List;
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
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.RowType;

/**
 * Flink's values as JSON, exactly.
 *
 * <p>Whole numbers are numbers; FLOAT and DOUBLE are texts that Java reads back to the same value ("0.1", "NaN"), DECIMAL is
 * a text with all its digits. A TIMESTAMP is "2024-06-03T01:02:03.456789", a TIMESTAMP_LTZ the same in UTC with a Z, both
 * with as many digits as they need. Bytes are "hex:00ff". A map is a list of pairs.
 */
final class Json {

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private Json() {}

    static ObjectNode of(RowData row, RowType type) {
        ObjectNode fields = NODES.objectNode();
        List<RowType.RowField> columns = type.getFields();
        for (int i = 0; i < columns.size(); i++) {
            LogicalType column = columns.get(i).getType();
            Object value = RowData.createFieldGetter(column, i).getFieldOrNull(row);
            fields.set(columns.get(i).getName(), of(value, column));
        }
        return fields;
    }

    private static JsonNode of(Object value, LogicalType type) {
        if (value == null) {
            return NODES.nullNode();
        }
        return switch (type.getTypeRoot()) {
            case BOOLEAN -> NODES.booleanNode((Boolean) value);
            case TINYINT, SMALLINT, INTEGER, BIGINT -> NODES.numberNode(((Number) value).longValue());
            case FLOAT, DOUBLE, CHAR, VARCHAR -> NODES.textNode(value.toString());
            case DECIMAL -> NODES.textNode(((DecimalData) value).toBigDecimal().toPlainString());
            case BINARY, VARBINARY -> NODES.textNode("hex:" + HexFormat.of().formatHex((byte[]) value));
            case DATE -> NODES.textNode(LocalDate.ofEpochDay((Integer) value).toString());
            case TIME_WITHOUT_TIME_ZONE -> NODES.textNode(time((Integer) value));
            case TIMESTAMP_WITHOUT_TIME_ZONE -> NODES.textNode(timestamp((TimestampData) value));
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE -> NODES.textNode(timestamp((TimestampData) value) + "Z");
            case ARRAY -> list((ArrayData) value, ((ArrayType) type).getElementType());
            case MAP -> pairs((MapData) value, (MapType) type);
            case ROW -> of((RowData) value, (RowType) type);
            default -> throw new IllegalArgumentException("No table has columns of " + type.asSummaryString());
        };
    }

    private static String time(int milliseconds) {
        return DateTimeFormatter.ISO_LOCAL_TIME.format(LocalTime.ofNanoOfDay(milliseconds * 1_000_000L));
    }

    private static String timestamp(TimestampData value) {
        LocalDateTime time = value.toLocalDateTime();
        return DateTimeFormatter.ISO_LOCAL_DATE_TIME.format(time);
    }

    private static ArrayNode list(ArrayData array, LogicalType type) {
        ArrayNode list = NODES.arrayNode();
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(type);
        for (int i = 0; i < array.size(); i++) {
            list.add(of(getter.getElementOrNull(array, i), type));
        }
        return list;
    }

    private static ArrayNode pairs(MapData map, MapType type) {
        ArrayNode keys = list(map.keyArray(), type.getKeyType());
        ArrayNode values = list(map.valueArray(), type.getValueType());
        ArrayNode pairs = NODES.arrayNode();
        for (int i = 0; i < keys.size(); i++) {
            pairs.add(NODES.arrayNode().add(keys.get(i)).add(values.get(i)));
        }
        return pairs;
    }
}
