package kappa.format;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.data.GenericRowData;

/**
 * Reads a message as the columns of a record. Fields that the schema does not have are passed over.
 *
 * <p>Bytes that are no message are only that. Else the first fault in the order of the columns counts. The rules are those
 * of {@code replay/avro/protobuf_records.py}, and so are the reasons.
 */
final class ProtobufMessage {

    /** @param missing what the column is where nothing is written, made once: a list may have a million such items */
    private record Column(JsonPlace place, boolean isRequired, ProtobufValue value, Object missing) {}

    private static final byte[] NO_BYTES = new byte[0];

    private final List<Column> columns = new ArrayList<>();
    private final ProtobufShape shape;

    ProtobufMessage(Schema schema, JsonPlace place) {
        List<ProtobufShape.Field> fields = new ArrayList<>();
        for (Schema.Field field : schema.getFields()) {
            fields.add(column(field, place.field(field.name())));
        }
        shape = new ProtobufShape(fields);
    }

    ProtobufShape shape() {
        return shape;
    }

    private ProtobufShape.Field column(Schema.Field field, JsonPlace place) {
        Map<?, ?> written = (Map<?, ?>) field.getObjectProp("protobuf");
        boolean isNullable = field.schema().getType() == Schema.Type.UNION;
        Schema type = isNullable ? AvroType.branches(field.schema()).get(0) : field.schema();
        boolean isRepeated = true;
        ProtobufKind kind;
        String name = (String) written.get("kind");
        if (written.containsKey("key")) {
            kind = ProtobufKind.entry((String) written.get("key"), name, type.getValueType(), place);
            columns.add(column(place, false, ProtobufValue.map(kind.value()), List.of()));
        } else if (written.containsKey("repeated")) {
            kind = ProtobufKind.of(name, type.getElementType(), place.items());
            columns.add(column(place, false, ProtobufValue.array(kind.value()), List.of()));
        } else {
            isRepeated = false;
            kind = ProtobufKind.of(name, type, place);
            columns.add(column(place, written.containsKey("required"), kind.value(), isNullable ? null : kind.missing()));
        }
        Integer oneof = (Integer) written.get("oneof");
        return new ProtobufShape.Field(
                (Integer) written.get("number"),
                kind.type(),
                isRepeated,
                oneof == null ? ProtobufShape.NO_ONEOF : oneof,
                kind.shape());
    }

    /** @param missing as if it had been read; null: the column is NULL */
    private static Column column(JsonPlace place, boolean isRequired, ProtobufValue value, Object missing) {
        try {
            Object shown = missing == null || isRequired ? null : value.of(missing, NO_BYTES);
            return new Column(place, isRequired, value, shown);
        } catch (UndecodableException e) {
            throw new IllegalArgumentException("The default of a column is none of its values", e);
        }
    }

    /** Sets a row's first columns from what is left of the bytes. */
    void readInto(GenericRowData row, ProtobufBytes bytes) throws UndecodableException {
        Object[] values = shape.nothing();
        shape.readInto(values, bytes, ProtobufBytes.MAX_DEPTH);
        fill(row, values, bytes.bytes());
    }

    GenericRowData row(Object[] values, byte[] bytes) throws UndecodableException {
        GenericRowData row = new GenericRowData(values.length);
        fill(row, values, bytes);
        return row;
    }

    private void fill(GenericRowData row, Object[] values, byte[] bytes) throws UndecodableException {
        for (int i = 0; i < values.length; i++) {
            Column column = columns.get(i);
            Object value = values[i];
            if (value == null) {
                if (column.isRequired) {
                    throw column.place.reject("missing");
                }
                row.setField(i, column.missing);
            } else {
                row.setField(i, column.value.of(value, bytes));
            }
        }
    }
}
