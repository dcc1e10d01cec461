package kappa.log;

import java.io.IOException;
import java.io.Serializable;
import kappa.format.UndecodableException;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.util.Collector;

/** The rows of a record: the columns of its value, which end with {@code log_value} and {@code log_error}, then those of its key. */
final class KeyedRows implements Serializable {

    private static final long serialVersionUID = 1L;

    private final DeserializationSchema<RowData> value;
    private final DeserializationSchema<RowData> key;
    private final int keyWidth;

    /** @param key null: nothing of the key is a column */
    KeyedRows(DeserializationSchema<RowData> value, DeserializationSchema<RowData> key, int keyWidth) {
        this.value = value;
        this.key = key;
        this.keyWidth = keyWidth;
    }

    /** Of values alone. */
    static KeyedRows of(DeserializationSchema<RowData> value) {
        return new KeyedRows(value, null, 0);
    }

    void open(DeserializationSchema.InitializationContext context) throws Exception {
        value.open(context);
        if (key != null) {
            key.open(context);
        }
    }

    void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<RowData> out) throws IOException {
        if (key == null) {
            value.deserialize(record.value(), out);
            return;
        }
        RowData columns = null;
        String fault = null;
        try {
            columns = key.deserialize(record.key());
        } catch (UndecodableException e) {
            fault = "key: " + e.getMessage();
        }
        // every format of values makes one row of each
        GenericRowData row = (GenericRowData) value.deserialize(record.value());
        out.collect(columns == null ? rejected(row, fault) : joined(row, (GenericRowData) columns));
    }

    private GenericRowData joined(GenericRowData row, GenericRowData columns) {
        int width = row.getArity();
        GenericRowData joined = new GenericRowData(row.getRowKind(), width + keyWidth);
        for (int i = 0; i < width; i++) {
            joined.setField(i, row.getField(i));
        }
        for (int i = 0; i < keyWidth; i++) {
            joined.setField(width + i, columns.getField(i));
        }
        return joined;
    }

    /** Of a key that cannot be decoded: no column but the value's bytes and the reason, its own if it has one. */
    private GenericRowData rejected(GenericRowData row, String fault) {
        int error = row.getArity() - 1;
        GenericRowData rejected = new GenericRowData(row.getRowKind(), row.getArity() + keyWidth);
        rejected.setField(error - 1, row.getField(error - 1));
        if (row.getField(error - 1) != null) { // else there is no value to be rejected
            rejected.setField(error, row.getField(error) == null ? StringData.fromString(fault) : row.getField(error));
        }
        return rejected;
    }
}
