package kappa.format;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;

/** Makes what Flink holds of a value that {@link ProtobufShape} has read. */
@FunctionalInterface
interface ProtobufValue {

    /** @param bytes of the record, in which texts and bytes stand */
    Object of(Object value, byte[] bytes) throws UndecodableException;

    static ProtobufValue array(ProtobufValue item) {
        return (value, bytes) -> {
            List<?> found = (List<?>) value;
            Object[] items = new Object[found.size()];
            for (int i = 0; i < items.length; i++) {
                items[i] = item.of(found.get(i), bytes);
            }
            return new GenericArrayData(items);
        };
    }

    /** Of entries that are rows of key and value; of those with the same key the last one counts. */
    static ProtobufValue map(ProtobufValue entry) {
        return (value, bytes) -> {
            Map<Object, Object> entries = new HashMap<>();
            for (Object found : (List<?>) value) {
                GenericRowData row = (GenericRowData) entry.of(found, bytes);
                entries.put(row.getField(0), row.getField(1));
            }
            return new GenericMapData(entries);
        };
    }
}
