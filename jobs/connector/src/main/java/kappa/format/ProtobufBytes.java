package kappa.format;

/** Reads what messages of Protobuf are made of, as strictly as Google's own library does. */
final class ProtobufBytes {

    static final int VARINT = 0;
    static final int FIXED_64 = 1;
    static final int LENGTH = 2;
    static final int FIXED_32 = 5;

    /** Messages and groups may be nested so deep, also in fields that are not read. */
    static final int MAX_DEPTH = 100;

    private static final int GROUP = 3;
    private static final int END_OF_GROUP = 4;
    private static final int TYPE_BITS = 3;
    private static final int SHORT_VARINT = 5;
    private static final int LONG_VARINT = 10;
    private static final long MAX_TAG = 0xffff_ffffL;

    private final byte[] bytes;
    private int at;
    private int end;

    ProtobufBytes(byte[] bytes) {
        this.bytes = bytes;
        end = bytes.length;
    }

    byte[] bytes() {
        return bytes;
    }

    void moveTo(int position) {
        at = position;
    }

    int position() {
        return at;
    }

    boolean isEnd() {
        return at >= end;
    }

    /** Ends with what comes so many bytes on; returns the end before, for {@link #goOn}. */
    int endAfter(int length) {
        int before = end;
        end = at + length;
        return before;
    }

    void goOn(int before) {
        end = before;
    }

    /** Number and wire type. */
    int readTag() throws UndecodableException {
        long tag = varint(SHORT_VARINT);
        if (tag > MAX_TAG || tag >>> TYPE_BITS == 0) {
            throw malformed();
        }
        return (int) tag;
    }

    static int number(int tag) {
        return tag >>> TYPE_BITS;
    }

    static int type(int tag) {
        return tag & (1 << TYPE_BITS) - 1;
    }

    /** A length that the bytes have. */
    int readLength() throws UndecodableException {
        long length = varint(LONG_VARINT);
        if (length < 0 || length > end - at) {
            throw malformed();
        }
        return (int) length;
    }

    /** The bits of a number of this wire type; of bytes where they begin and, in the lower half, how many they are. */
    long readBits(int type) throws UndecodableException {
        switch (type) {
            case VARINT:
                return varint(LONG_VARINT);
            case FIXED_64:
                return fixed(Long.BYTES);
            case FIXED_32:
                return fixed(Integer.BYTES);
            default:
                int length = readLength();
                long start = at;
                at += length;
                return start << Integer.SIZE | length;
        }
    }

    private long fixed(int size) throws UndecodableException {
        advance(size);
        long found = 0;
        for (int i = 1; i <= size; i++) {
            found = found << Byte.SIZE | bytes[at - i] & 0xff;
        }
        return found;
    }

    private long varint(int longest) throws UndecodableException {
        long found = 0;
        for (int i = 0; i < longest && at < end; i++) {
            byte next = bytes[at++];
            found |= (next & 0x7fL) << 7 * i;
            if (next >= 0) {
                return found;
            }
        }
        throw malformed();
    }

    private void advance(int size) throws UndecodableException {
        if (size > end - at) {
            throw malformed();
        }
        at += size;
    }

    /** Passes over the value of a field, at a depth that counts down. */
    void skip(int tag, int depth) throws UndecodableException {
        switch (type(tag)) {
            case VARINT -> varint(LONG_VARINT);
            case FIXED_64 -> advance(Long.BYTES);
            case LENGTH -> advance(readLength());
            case FIXED_32 -> advance(Integer.BYTES);
            case GROUP -> skipGroup(number(tag), depth - 1);
            default -> throw malformed();
        }
    }

    private void skipGroup(int number, int depth) throws UndecodableException {
        if (depth < 0) {
            throw malformed();
        }
        int tag = readTag();
        while (type(tag) != END_OF_GROUP) {
            skip(tag, depth);
            tag = readTag();
        }
        if (number(tag) != number) {
            throw malformed();
        }
    }

    /** One of the indexes of a message: a zigzag varint that is not negative. */
    int readIndex() throws UndecodableException {
        long found;
        try {
            found = varint(SHORT_VARINT);
        } catch (UndecodableException e) {
            throw noIndexes();
        }
        if (found > MAX_TAG || (found & 1) != 0) {
            throw noIndexes();
        }
        return (int) (found >>> 1);
    }

    static UndecodableException noIndexes() {
        return new UndecodableException("no message indexes behind the schema id");
    }

    static UndecodableException malformed() {
        return new UndecodableException("the value is not Protobuf");
    }
}
