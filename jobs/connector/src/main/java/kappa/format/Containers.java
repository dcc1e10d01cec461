package kappa.format;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;

/** Readers of values that hold values. */
final class Containers {

    private static final int FIRST_CAPACITY = 10;

    private Containers() {}

    /** Items come in blocks, and what a count says is not allocated before the items are there. */
    static ValueReader array(ValueReader item, boolean empty, Place place) {
        return body -> {
            Object[] items = new Object[FIRST_CAPACITY];
            int size = 0;
            for (int count = body.readCount(empty, place); count != 0; count = body.readCount(empty, place)) {
                for (int i = 0; i < count; i++) {
                    if (size == items.length) {
                        items = Arrays.copyOf(items, size * 2);
                    }
                    items[size++] = item.read(body);
                }
            }
            return new GenericArrayData(Arrays.copyOf(items, size));
        };
    }

    static ValueReader map(ValueReader value, Place place) {
        return body -> {
            Map<Object, Object> entries = new HashMap<>();
            for (int count = body.readCount(false, place); count != 0; count = body.readCount(false, place)) {
                for (int i = 0; i < count; i++) {
                    Object key = body.readString(place);
                    entries.put(key, value.read(body));
                }
            }
            return new GenericMapData(entries);
        };
    }

    /** A union of several types is a row with a column for each, of which one is set. */
    static ValueReader rowOfBranch(ValueReader value, int branch, int branches) {
        return body -> {
            GenericRowData row = new GenericRowData(branches);
            row.setField(branch, value.read(body));
            return row;
        };
    }
}
