package kappa.log;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.TypeInference;

/**
 * {@code NAME_at(time, key…, key…)} in SQL: what {@link Versions} finds in several tables, in one row. There is always one;
 * the columns of a table in which nothing is found are NULL. Column c of a table that is looked up as n is n_c.
 *
 * <p>Joins with the tables one after the other give the same rows for more work: Flink joins row to row, and then reads
 * each column through as many rows as were joined.
 */
public final class VersionsOfSeveral extends TableFunction<RowData> {

    private static final long serialVersionUID = 1L;

    private final Versions[] tables;
    private final DataType row;
    private final int arity;

    /** @param names what the tables are looked up as; one table may have several */
    VersionsOfSeveral(List<String> names, List<Versions> tables) {
        List<DataTypes.Field> columns = new ArrayList<>();
        for (int i = 0; i < names.size(); i++) {
            for (DataTypes.Field column : DataType.getFields(tables.get(i).row())) {
                columns.add(DataTypes.FIELD(names.get(i) + "_" + column.getName(), column.getDataType().nullable()));
            }
        }
        this.tables = tables.toArray(Versions[]::new);
        this.row = DataTypes.ROW(columns).notNull().bridgedTo(RowData.class);
        this.arity = columns.size();
    }

    /** Declares the function {@code name} over tables of the connector {@code kappa-log}, with the key of each; called from Python. */
    public static void declare(
            TableEnvironment env, String name, List<String> names, List<String> tables, List<List<String>> keys) {
        Map<String, Versions> read = new HashMap<>(); // once, whatever it is looked up as
        for (int i = 0; i < tables.size(); i++) {
            read.putIfAbsent(tables.get(i), Versions.of(env, tables.get(i), keys.get(i)));
        }
        List<Versions> found = tables.stream().map(read::get).toList();
        env.createTemporarySystemFunction(name, new VersionsOfSeveral(names, found));
    }

    @Override
    public TypeInference getTypeInference(DataTypeFactory types) {
        Stream<DataType> keys = Arrays.stream(tables).flatMap(table -> table.keyTypes().stream());
        return Versions.inference(keys, row);
    }

    @Override
    public void open(FunctionContext context) throws Exception {
        for (Versions table : distinct()) {
            table.open(context);
        }
    }

    /** Called by the planner's code. */
    public void eval(TimestampData at, Object... keys) {
        GenericRowData found = new GenericRowData(arity);
        int key = 0;
        int column = 0;
        for (Versions table : tables) {
            int nextKey = key + table.keyArity();
            GenericRowData valid = table.at(at, Arrays.copyOfRange(keys, key, nextKey));
            for (int i = 0; valid != null && i < valid.getArity(); i++) {
                found.setField(column + i, valid.getField(i));
            }
            key = nextKey;
            column += table.arity();
        }
        collect(found);
    }

    @Override
    public void close() {
        distinct().forEach(Versions::close);
    }

    private Set<Versions> distinct() {
        return new LinkedHashSet<>(Arrays.asList(tables));
    }

    DataType row() {
        return row;
    }
}
