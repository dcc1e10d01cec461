package kappa.lines;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.math.BigDecimal;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;
import org.junit.jupiter.api.Test;

class JsonTest {

    @Test
    void numbersKeepEveryDigit() {
        assertEquals("9223372036854775807", json(DataTypes.BIGINT(), Long.MAX_VALUE));
        assertEquals("\"0.1\"", json(DataTypes.DOUBLE(), 0.1));
        assertEquals("\"NaN\"", json(DataTypes.DOUBLE(), Double.NaN));
        assertEquals("\"-Infinity\"", json(DataTypes.FLOAT(), Float.NEGATIVE_INFINITY));
        DecimalData amount = DecimalData.fromBigDecimal(new BigDecimal("12345678901234567890.1200"), 38, 4);
        assertEquals("\"12345678901234567890.1200\"", json(DataTypes.DECIMAL(38, 4), amount));
    }

    @Test
    void timesKeepTheirMicrosecondsAndInstantsAreOfUtc() {
        TimestampData time = TimestampData.fromEpochMillis(1_717_376_523_456L, 789_000);
        assertEquals("\"2024-06-03T01:02:03.456789\"", json(DataTypes.TIMESTAMP(6), time));
        assertEquals("\"2024-06-03T01:02:03.456789Z\"", json(DataTypes.TIMESTAMP_LTZ(6), time));
        assertEquals("\"1969-12-31T23:59:59.999Z\"", json(DataTypes.TIMESTAMP_LTZ(3), TimestampData.fromEpochMillis(-1)));
        assertEquals("\"1969-12-31\"", json(DataTypes.DATE(), -1));
        assertEquals("\"01:02:03.456\"", json(DataTypes.TIME(3), 3_723_456));
    }

    @Test
    void whatIsNestedIsNested() {
        Map<Object, Object> map = new LinkedHashMap<>();
        map.put(2, StringData.fromString("\u00e4\n\""));
        map.put(1, null);
        DataType row = DataTypes.ROW(DataTypes.FIELD("b", DataTypes.BYTES()), DataTypes.FIELD("n", DataTypes.INT()));
        assertEquals("[[2,\"\u00e4\\n\\\"\"],[1,null]]",
                json(DataTypes.MAP(DataTypes.INT(), DataTypes.STRING()), new GenericMapData(map)));
        GenericArrayData rows = new GenericArrayData(new Object[] {GenericRowData.of(new byte[] {0, -1}, null), null});
        assertEquals("[{\"b\":\"hex:00ff\",\"n\":null},null]", json(DataTypes.ARRAY(row), rows));
    }

    private static String json(DataType type, Object value) {
        RowType row = (RowType) DataTypes.ROW(DataTypes.FIELD("x", type)).getLogicalType();
        return Json.of(GenericRowData.of(value), row).get("x").toString();
    }
}
