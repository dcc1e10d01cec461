package kappa.format;

import java.util.ArrayList;
import java.util.List;

/**
 * How the fields of a message are written, by which it is taken apart: into a value for each field, null where there is
 * none. That is the bits of a number, where bytes stand, the values of another message, or a list of them.
 */
final class ProtobufShape {

    static final int NO_ONEOF = -1;

    /**
     * @param type the wire type of one value
     * @param oneof of its fields the last one that is written counts; {@link #NO_ONEOF}
     * @param inner of a message; else null
     */
    record Field(int number, int type, boolean isRepeated, int oneof, ProtobufShape inner) {

        /** Whether several values may be written without a tag for each. */
        boolean isPackable() {
            return isRepeated && type != ProtobufBytes.LENGTH;
        }
    }

    private static final int DENSE = 256;

    private final Field[] fields;
    private final int[] positions; // by number, of the low ones; one more than the position

    ProtobufShape(List<Field> fields) {
        this.fields = fields.toArray(Field[]::new);
        positions = new int[DENSE];
        for (int i = 0; i < this.fields.length; i++) {
            if (this.fields[i].number < DENSE) {
                positions[this.fields[i].number] = i + 1;
            }
        }
    }

    Object[] nothing() {
        return new Object[fields.length];
    }

    /** Reads up to the end of the bytes. What is written twice is merged into what was there. */
    void readInto(Object[] values, ProtobufBytes bytes, int depth) throws UndecodableException {
        while (!bytes.isEnd()) {
            int tag = bytes.readTag();
            int position = position(ProtobufBytes.number(tag));
            if (position < 0 || !read(values, position, ProtobufBytes.type(tag), bytes, depth)) {
                bytes.skip(tag, depth);
            }
        }
    }

    private int position(int number) {
        if (number < DENSE) {
            return positions[number] - 1;
        }
        for (int i = 0; i < fields.length; i++) {
            if (fields[i].number == number) {
                return i;
            }
        }
        return -1;
    }

    /** False if the field is not written so: then it is one that the message does not have. */
    private boolean read(Object[] values, int position, int type, ProtobufBytes bytes, int depth)
            throws UndecodableException {
        Field field = fields[position];
        if (type == field.type) {
            Object before = field.isRepeated ? null : values[position];
            put(values, position, readOne(field, before, bytes, depth));
            return true;
        }
        if (field.isPackable() && type == ProtobufBytes.LENGTH) {
            int end = bytes.endAfter(bytes.readLength());
            while (!bytes.isEnd()) {
                put(values, position, bytes.readBits(field.type));
            }
            bytes.goOn(end);
            return true;
        }
        return false;
    }

    private static Object readOne(Field field, Object before, ProtobufBytes bytes, int depth)
            throws UndecodableException {
        if (field.inner == null) {
            return bytes.readBits(field.type);
        }
        int length = bytes.readLength();
        if (depth == 0) {
            throw ProtobufBytes.malformed();
        }
        Object[] inner = before == null ? field.inner.nothing() : (Object[]) before;
        int end = bytes.endAfter(length);
        field.inner.readInto(inner, bytes, depth - 1);
        bytes.goOn(end);
        return inner;
    }

    @SuppressWarnings("unchecked")
    private void put(Object[] values, int position, Object value) {
        Field field = fields[position];
        if (field.isRepeated) {
            if (values[position] == null) {
                values[position] = new ArrayList<>();
            }
            ((List<Object>) values[position]).add(value);
            return;
        }
        values[position] = value;
        if (field.oneof != NO_ONEOF) {
            for (int i = 0; i < fields.length; i++) {
                if (i != position && fields[i].oneof == field.oneof) {
                    values[i] = null;
                }
            }
        }
    }
}
