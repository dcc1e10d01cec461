package kappa.lake;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.RowType;

/**
 * Turns a value of one type into a value of another that has more fields, in another order, or wider ones.
 *
 * <p>Fields of rows are matched by name. What only the wider type has is NULL.
 */
@FunctionalInterface
interface Fit extends Serializable {

    /** Null stays null. */
    Object apply(Object value);

    /** The conversion, or null where every value may stay as it is. ValidationException names a part that does not fit. */
    static Fit between(LogicalType written, LogicalType table, String path) {
        if (written.getTypeRoot() != table.getTypeRoot()) {
            return widening(written, table, path);
        }
        return switch (written.getTypeRoot()) {
            case ROW -> ofRows((RowType) written, (RowType) table, path);
            case ARRAY -> ofArrays((ArrayType) written, (ArrayType) table, path);
            case MAP -> ofMaps((MapType) written, (MapType) table, path);
            case DECIMAL -> ofDecimals((DecimalType) written, (DecimalType) table, path);
            default -> null;
        };
    }

    private static Fit widening(LogicalType written, LogicalType table, String path) {
        LogicalTypeRoot from = written.getTypeRoot();
        LogicalTypeRoot to = table.getTypeRoot();
        if (from == LogicalTypeRoot.INTEGER && to == LogicalTypeRoot.BIGINT) {
            return value -> value == null ? null : ((Integer) value).longValue();
        }
        if (from == LogicalTypeRoot.FLOAT && to == LogicalTypeRoot.DOUBLE) {
            return value -> value == null ? null : ((Float) value).doubleValue();
        }
        throw doesNotFit(written, table, path);
    }

    private static Fit ofDecimals(DecimalType written, DecimalType table, String path) {
        int precision = table.getPrecision();
        int scale = table.getScale();
        if (written.getScale() != scale || written.getPrecision() > precision) {
            throw doesNotFit(written, table, path);
        }
        if (written.getPrecision() == precision) {
            return null;
        }
        return value -> value == null ? null : DecimalData.fromBigDecimal(((DecimalData) value).toBigDecimal(), precision, scale);
    }

    private static Fit ofRows(RowType written, RowType table, String path) {
        List<String> names = written.getFieldNames();
        for (String name : names) {
            if (!table.getFieldNames().contains(name)) {
                throw new ValidationException(
                        String.format("The table has no column %s. It has %s.", at(path, name), table.getFieldNames()));
            }
        }
        int width = table.getFieldCount();
        RowData.FieldGetter[] getters = new RowData.FieldGetter[width];
        Fit[] fits = new Fit[width];
        boolean same = names.equals(table.getFieldNames());
        for (int i = 0; i < width; i++) {
            int from = names.indexOf(table.getFieldNames().get(i));
            if (from >= 0) {
                LogicalType type = written.getTypeAt(from);
                getters[i] = RowData.createFieldGetter(type.copy(true), from);
                fits[i] = between(type, table.getTypeAt(i), at(path, names.get(from)));
                same &= fits[i] == null;
            }
        }
        return same ? null : value -> value == null ? null : row((RowData) value, getters, fits);
    }

    private static RowData row(RowData row, RowData.FieldGetter[] getters, Fit[] fits) {
        GenericRowData fitted = new GenericRowData(row.getRowKind(), getters.length);
        for (int i = 0; i < getters.length; i++) {
            if (getters[i] != null) {
                Object field = getters[i].getFieldOrNull(row);
                fitted.setField(i, fits[i] == null ? field : fits[i].apply(field));
            }
        }
        return fitted;
    }

    private static Fit ofArrays(ArrayType written, ArrayType table, String path) {
        Fit fit = between(written.getElementType(), table.getElementType(), path + "[]");
        if (fit == null) {
            return null;
        }
        ArrayData.ElementGetter getter = ArrayData.createElementGetter(written.getElementType().copy(true));
        return value -> value == null ? null : new GenericArrayData(elements((ArrayData) value, getter, fit).toArray());
    }

    private static Fit ofMaps(MapType written, MapType table, String path) {
        if (between(written.getKeyType(), table.getKeyType(), path + ".key") != null) {
            throw doesNotFit(written, table, path);
        }
        Fit fit = between(written.getValueType(), table.getValueType(), path + ".value");
        if (fit == null) {
            return null;
        }
        ArrayData.ElementGetter keys = ArrayData.createElementGetter(written.getKeyType().copy(true));
        ArrayData.ElementGetter values = ArrayData.createElementGetter(written.getValueType().copy(true));
        return value -> value == null ? null : map((MapData) value, keys, values, fit);
    }

    private static MapData map(MapData map, ArrayData.ElementGetter keys, ArrayData.ElementGetter values, Fit fit) {
        List<Object> fitted = elements(map.valueArray(), values, fit);
        Map<Object, Object> found = new LinkedHashMap<>();
        for (int i = 0; i < fitted.size(); i++) {
            found.put(keys.getElementOrNull(map.keyArray(), i), fitted.get(i));
        }
        return new GenericMapData(found);
    }

    private static List<Object> elements(ArrayData array, ArrayData.ElementGetter getter, Fit fit) {
        List<Object> fitted = new ArrayList<>(array.size());
        for (int i = 0; i < array.size(); i++) {
            fitted.add(fit.apply(getter.getElementOrNull(array, i)));
        }
        return fitted;
    }

    private static String at(String path, String name) {
        return path.isEmpty() ? name : path + "." + name;
    }

    private static ValidationException doesNotFit(LogicalType written, LogicalType table, String path) {
        return new ValidationException(
                String.format(
                        "Column %s is %s in the table, which does not hold %s.",
                        path, table.asSummaryString(), written.asSummaryString()));
    }
}
