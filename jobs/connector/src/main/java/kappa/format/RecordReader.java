package kappa.format;

import java.io.IOException;
import java.util.stream.IntStream;
import org.apache.flink.table.data.GenericRowData;

/** Reads a record into a row, in the order in which it was written. */
final class RecordReader implements ValueReader {

    private static final int SKIPPED = -1;

    private final ValueReader problem;
    private final ValueReader[] fields;
    private final int[] columns;
    private final int width;
    private final int[] defaultColumns;
    private final Object[] defaults;

    /**
     * @param problem rejects every record, because the schemas do not match; or null
     * @param fields of the writer
     * @param columns for each of these, where its value goes; -1 for nowhere
     * @param defaults by column; null where there is none
     */
    RecordReader(ValueReader problem, ValueReader[] fields, int[] columns, Object[] defaults) {
        this.problem = problem;
        this.fields = fields;
        this.columns = columns;
        this.width = defaults.length;
        this.defaultColumns =
                IntStream.range(0, width).filter(i -> defaults[i] != null).toArray();
        this.defaults = defaults;
    }

    @Override
    public Object read(Body body) throws IOException {
        GenericRowData row = new GenericRowData(width);
        readInto(row, body);
        return row;
    }

    /** Sets a row's first columns. */
    void readInto(GenericRowData row, Body body) throws IOException {
        if (problem != null) {
            problem.read(body);
        }
        for (int column : defaultColumns) {
            row.setField(column, defaults[column]);
        }
        for (int i = 0; i < fields.length; i++) {
            Object value = fields[i].read(body);
            if (columns[i] != SKIPPED) {
                row.setField(columns[i], value);
            }
        }
    }
}
