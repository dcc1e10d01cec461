package kappa.format;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.IndexedRecord;
import org.apache.flink.avro.shaded.org.apache.avro.util.Utf8;
import org.apache.flink.formats.avro.AvroToRowDataConverters;
import org.apache.flink.formats.avro.AvroToRowDataConverters.AvroToRowDataConverter;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalTypeFamily;
import org.apache.flink.table.types.logical.RowType;

/**
 * Flink's converter from a record to a row, but for strings: they stay bytes, as Flink's rows have them too.
 *
 * <p>Flink's own makes a {@code String} of each, which is encoded again as soon as a row is written, hashed or compared.
 */
final class RecordConverter implements Serializable {

    private static final long serialVersionUID = 1L;

    private final int[] strings;
    private final int[] others;
    private final AvroToRowDataConverter ofOthers;

    RecordConverter(RowType columns) {
        List<Integer> strings = new ArrayList<>();
        List<Integer> others = new ArrayList<>();
        for (int i = 0; i < columns.getFieldCount(); i++) {
            boolean isString = columns.getTypeAt(i).is(LogicalTypeFamily.CHARACTER_STRING);
            (isString ? strings : others).add(i);
        }
        this.strings = strings.stream().mapToInt(Integer::intValue).toArray();
        this.others = others.stream().mapToInt(Integer::intValue).toArray();
        List<RowType.RowField> fields = others.stream().map(columns.getFields()::get).toList();
        ofOthers = AvroToRowDataConverters.createRowConverter(new RowType(false, fields), false);
    }

    /** Sets a row's first columns; none of them when a value cannot be converted. */
    void convert(IndexedRecord record, GenericRowData row) {
        GenericRowData found = (GenericRowData) ofOthers.convert(new Fields(record, others));
        for (int column : strings) {
            row.setField(column, string(record.get(column)));
        }
        for (int i = 0; i < others.length; i++) {
            row.setField(others[i], found.getField(i));
        }
    }

    private static StringData string(Object value) {
        if (value == null) {
            return null;
        }
        if (value instanceof Utf8 utf8) {
            byte[] bytes = utf8.getBytes();
            if (bytes.length == utf8.getByteLength() && isAscii(bytes)) {
                return StringData.fromBytes(bytes);
            }
        }
        return StringData.fromString(value.toString()); // which replaces what is no UTF-8
    }

    private static boolean isAscii(byte[] bytes) {
        for (byte b : bytes) {
            if (b < 0) {
                return false;
            }
        }
        return true;
    }

    /** Some fields of a record. */
    private record Fields(IndexedRecord record, int[] positions) implements IndexedRecord {

        @Override
        public Object get(int i) {
            return record.get(positions[i]);
        }

        @Override
        public void put(int i, Object value) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Schema getSchema() {
            throw new UnsupportedOperationException();
        }
    }
}
