package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class VersionsOfSeveralTest {

    private static final TimestampData NOON = TimestampData.fromEpochMillis(12);

    private final Known planes = new Known(new int[] {0, 1}, Map.of(List.of("a", "x"), GenericRowData.of("a", "x", 7)));
    private final Known cities = new Known(new int[] {0}, Map.of(List.of("b"), GenericRowData.of("b", "y", 8)));

    @Test
    void columnsOfAllTablesAreInOneRow() {
        assertEquals(List.of("a", "x", 7, "b", "y", 8), found(NOON, "a", "x", "b"));
    }

    @Test
    void columnsOfATableInWhichNothingIsFoundAreNull() {
        assertEquals(Arrays.asList(null, null, null, "b", "y", 8), found(NOON, "a", "y", "b"));
        assertEquals(Arrays.asList("a", "x", 7, null, null, null), found(NOON, "a", "x", null));
        assertEquals(Arrays.asList(null, null, null, null, null, null), found(null, "a", "x", "b"));
    }

    @Test
    void columnsAreNamedByWhatTheyAreLookedUpAs() {
        DataType row = new VersionsOfSeveral(List.of("plane", "from", "to"), List.of(planes, cities, cities)).row();
        assertEquals(
                List.of("plane_k", "plane_l", "plane_n", "from_k", "from_l", "from_n", "to_k", "to_l", "to_n"),
                DataType.getFieldNames(row));
        assertEquals(true, DataType.getFieldDataTypes(row).get(5).getLogicalType().isNullable());
    }

    @Test
    void aTableThatIsLookedUpTwiceIsOpenedAndClosedOnce() throws Exception {
        VersionsOfSeveral fromTo = new VersionsOfSeveral(List.of("from", "to"), List.of(cities, cities));
        fromTo.open(null);
        assertEquals(1, cities.open);
        fromTo.close();
        assertEquals(0, cities.open);
    }

    private List<Object> found(TimestampData at, Object... keys) {
        List<RowData> rows = new ArrayList<>();
        VersionsOfSeveral both = new VersionsOfSeveral(List.of("plane", "city"), List.of(planes, cities));
        both.setCollector(new ListCollector<>(rows));
        both.eval(at, keys);
        assertEquals(1, rows.size());
        GenericRowData row = (GenericRowData) rows.get(0);
        List<Object> fields = new ArrayList<>();
        for (int i = 0; i < row.getArity(); i++) {
            fields.add(row.getField(i));
        }
        return fields;
    }

    /** What is valid at any time, by key. */
    private static final class Known extends Versions {

        private static final long serialVersionUID = 1L;

        private final transient Map<List<Object>, GenericRowData> rows;
        private int open;

        Known(int[] key, Map<List<Object>, GenericRowData> rows) {
            super(
                    new VersionReader.Log("known", new Properties(), AN_HOUR, true, Map.of(), null),
                    null,
                    DataTypes.ROW(
                                    DataTypes.FIELD("k", DataTypes.STRING()),
                                    DataTypes.FIELD("l", DataTypes.STRING()),
                                    DataTypes.FIELD("n", DataTypes.INT().notNull()))
                            .notNull(),
                    key,
                    -1);
            this.rows = rows;
        }

        @Override
        GenericRowData at(TimestampData at, Object... key) {
            return at == null ? null : rows.get(Arrays.asList(key));
        }

        @Override
        public void open(FunctionContext context) {
            open++;
        }

        @Override
        public void close() {
            open--;
        }
    }
}
