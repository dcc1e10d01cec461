package kappa.format;

import java.io.EOFException;
import org.apache.flink.table.data.StringData;

/**
 * Avro's binary encoding in one message, read strictly: no length or count is believed that the message cannot hold, and
 * no byte is taken for a value that no producer writes so.
 *
 * <p>Avro's own decoder allocates what a length says before it reads: five bytes of garbage can ask for 2 GB, and would
 * kill the TaskManager again after every restart. It also takes any byte but 1 for false, and drops what is beyond 64
 * bits.
 */
final class Body {

    /** So many items of no bytes (nulls, empty records) may be in one message: their number is all that limits them. */
    static final int MAX_EMPTY_ITEMS = 100_000;

    private static final EOFException END =
            new EOFException() {
                private static final long serialVersionUID = 1L;

                @Override
                public Throwable fillInStackTrace() {
                    return this;
                }
            };

    private byte[] bytes;
    private int position;
    private int emptyItems;

    void reset(byte[] message, int offset) {
        bytes = message;
        position = offset;
        emptyItems = 0;
    }

    boolean isEnd() {
        return position == bytes.length;
    }

    int readByte() throws EOFException {
        if (position == bytes.length) {
            throw END;
        }
        return bytes[position++] & 0xff;
    }

    boolean readBoolean(Place place) throws EOFException, UndecodableException {
        int value = readByte();
        if (value > 1) {
            throw place.reject(String.format("byte 0x%02x is no boolean", value));
        }
        return value == 1;
    }

    int readInt(Place place) throws EOFException, UndecodableException {
        long value = readLong(place);
        if (value != (int) value) {
            throw place.reject(value + " is no int");
        }
        return (int) value;
    }

    long readLong(Place place) throws EOFException, UndecodableException {
        long encoded = 0;
        for (int shift = 0; ; shift += 7) {
            int next = readByte();
            if (shift == 63 && next > 1) {
                throw place.reject("a number of more than 64 bits");
            }
            encoded |= (long) (next & 0x7f) << shift;
            if (next < 0x80) {
                return (encoded >>> 1) ^ -(encoded & 1);
            }
        }
    }

    int readFourBytes() throws EOFException {
        int at = take(Integer.BYTES);
        return (bytes[at] & 0xff)
                | (bytes[at + 1] & 0xff) << 8
                | (bytes[at + 2] & 0xff) << 16
                | (bytes[at + 3] & 0xff) << 24;
    }

    long readEightBytes() throws EOFException {
        return (readFourBytes() & 0xffffffffL) | (long) readFourBytes() << 32;
    }

    byte[] readBytes(int length) throws EOFException {
        int at = take(length);
        byte[] copy = new byte[length];
        System.arraycopy(bytes, at, copy, 0, length);
        return copy;
    }

    /** A text that stays in the message's bytes, which nothing changes. */
    StringData readString(Place place) throws EOFException, UndecodableException {
        int length = readLength(place);
        int at = take(length);
        if (!Utf8Check.isValid(bytes, at, length)) {
            throw place.reject("bytes that are no UTF-8");
        }
        return StringData.fromBytes(bytes, at, length);
    }

    int readLength(Place place) throws EOFException, UndecodableException {
        long length = readLong(place);
        if (length < 0 || length > bytes.length) {
            throw place.reject("a length of " + length + " in " + bytes.length + " bytes");
        }
        return (int) length;
    }

    void skip(int length) throws EOFException {
        take(length);
    }

    /**
     * The number of items in the next block of an array or a map, 0 at its end.
     *
     * @param empty whether an item takes no bytes
     */
    int readCount(boolean empty, Place place) throws EOFException, UndecodableException {
        long count = readLong(place);
        if (count < 0) {
            count = -count;
            readLong(place); // the block's size in bytes, by which readers may skip it
        }
        if (empty) {
            if (count < 0 || count > MAX_EMPTY_ITEMS - emptyItems) {
                throw place.reject("more than " + MAX_EMPTY_ITEMS + " items of no bytes in a message");
            }
            emptyItems += (int) count;
        } else if (count < 0 || count > bytes.length - position) {
            throw place.reject("a count of " + count + " items in " + bytes.length + " bytes");
        }
        return (int) count;
    }

    private int take(int length) throws EOFException {
        int at = position;
        if (length > bytes.length - at) {
            throw END;
        }
        position = at + length;
        return at;
    }}
