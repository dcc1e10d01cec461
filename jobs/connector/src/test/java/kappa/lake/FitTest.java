package kappa.lake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.math.BigDecimal;
import java.util.Map;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;

class FitTest {

    @Test
    void whatTheTableHasInTheSamePlacesStaysAsItIs() {
        assertNull(fit("ROW<a INT NOT NULL, b ROW<c VARCHAR(2147483647)>>", "ROW<a INT, b ROW<c VARCHAR(2147483647)>>"));
    }

    @Test
    void columnsAreFoundByNameAndOthersAreNull() {
        Fit fit = fit("ROW<name VARCHAR(2147483647), id INT>", "ROW<id INT, old DATE, name VARCHAR(2147483647)>");
        GenericRowData row = GenericRowData.ofKind(RowKind.INSERT, StringData.fromString("x"), 7);
        assertEquals(GenericRowData.of(7, null, StringData.fromString("x")), fit.apply(row));
        assertEquals(GenericRowData.of(null, null, null), fit.apply(GenericRowData.of(null, null)));
    }

    @Test
    void numbersBecomeWider() {
        Fit fit = fit("ROW<a INT, b FLOAT, c DECIMAL(9, 2)>", "ROW<a BIGINT, b DOUBLE, c DECIMAL(20, 2)>");
        GenericRowData row = GenericRowData.of(1, 0.5f, decimal("1.25", 9));
        assertEquals(GenericRowData.of(1L, 0.5, decimal("1.25", 20)), fit.apply(row));
        assertEquals(GenericRowData.of(null, null, null), fit.apply(GenericRowData.of(null, null, null)));
    }

    @Test
    void fieldsInsideOfArraysAndMapsAreFoundByNameToo() {
        Fit fit =
                fit(
                        "ROW<l ARRAY<ROW<b INT>>, m MAP<INT, ROW<b INT>>>",
                        "ROW<l ARRAY<ROW<a INT, b BIGINT>>, m MAP<INT, ROW<b INT, a INT>>>");
        GenericRowData row =
                GenericRowData.of(
                        new GenericArrayData(new Object[] {GenericRowData.of(1), null}),
                        new GenericMapData(Map.of(5, GenericRowData.of(2))));
        GenericRowData fitted = (GenericRowData) fit.apply(row);
        assertEquals(new GenericArrayData(new Object[] {GenericRowData.of(null, 1L), null}), fitted.getField(0));
        assertEquals(new GenericMapData(Map.of(5, GenericRowData.of(2, null))), fitted.getField(1));
    }

    @Test
    void theKindOfARowStays() {
        Fit fit = fit("ROW<a INT>", "ROW<b INT, a INT>");
        GenericRowData deleted = (GenericRowData) fit.apply(GenericRowData.ofKind(RowKind.DELETE, 1));
        assertEquals(RowKind.DELETE, deleted.getRowKind());
    }

    @Test
    void aColumnThatTheTableHasNotIsNamed() {
        assertEquals("The table has no column b.nme. It has [name].", refused("ROW<b ROW<nme INT>>", "ROW<b ROW<name INT>>"));
    }

    @Test
    void aTypeThatDoesNotFitIsNamed() {
        assertEquals(
                "Column a[] is INT in the table, which does not hold BIGINT.",
                refused("ROW<a ARRAY<BIGINT>>", "ROW<a ARRAY<INT>>"));
        assertEquals(
                "Column a is DECIMAL(9, 3) in the table, which does not hold DECIMAL(9, 2).",
                refused("ROW<a DECIMAL(9, 2)>", "ROW<a DECIMAL(9, 3)>"));
        assertEquals(
                "Column a is MAP<BIGINT, INT> in the table, which does not hold MAP<INT, INT>.",
                refused("ROW<a MAP<INT, INT>>", "ROW<a MAP<BIGINT, INT>>"));
    }

    private static DecimalData decimal(String value, int precision) {
        return DecimalData.fromBigDecimal(new BigDecimal(value), precision, 2);
    }

    private static Fit fit(String written, String table) {
        return Fit.between(type(written), type(table), "");
    }

    private static String refused(String written, String table) {
        return assertThrows(ValidationException.class, () -> fit(written, table)).getMessage();
    }

    private static LogicalType type(String text) {
        return LogicalTypeParser.parse(text, FitTest.class.getClassLoader());
    }
}
