package kappa.format;

import java.nio.ByteBuffer;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

/** Bytes as one column: themselves, text, or a number as Kafka's serializers of numbers write it. */
final class RawDecoder implements RecordDecoder {

    private static final long serialVersionUID = 1L;

    private final LogicalTypeRoot type;

    RawDecoder(RowType columns) {
        type = columns.getFieldCount() == 1 ? columns.getTypeAt(0).getTypeRoot() : null;
        if (type != LogicalTypeRoot.VARBINARY
                && type != LogicalTypeRoot.VARCHAR
                && type != LogicalTypeRoot.INTEGER
                && type != LogicalTypeRoot.BIGINT) {
            throw new ValidationException(
                    String.format(
                            "A table in the format '%s' has one column of BYTES, STRING, INT or BIGINT. Found: %s",
                            RawFormatFactory.IDENTIFIER, columns.asSummaryString()));
        }
    }

    @Override
    public void open() {}

    @Override
    public void decode(byte[] message, GenericRowData row) throws UndecodableException {
        switch (type) {
            case VARBINARY -> row.setField(0, message);
            case VARCHAR -> {
                if (!Utf8Check.isValid(message, 0, message.length)) {
                    throw new UndecodableException("the value is not UTF-8");
                }
                row.setField(0, StringData.fromBytes(message));
            }
            case INTEGER -> row.setField(0, number(message, Integer.BYTES).getInt());
            default -> row.setField(0, number(message, Long.BYTES).getLong());
        }
    }

    private static ByteBuffer number(byte[] message, int length) throws UndecodableException {
        if (message.length != length) {
            throw new UndecodableException(message.length + " bytes, not " + length);
        }
        return ByteBuffer.wrap(message);
    }
}
