package kappa.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.avro.shaded.org.apache.avro.io.BinaryDecoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.Decoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.avro.shaded.org.apache.avro.util.Utf8;

/**
 * Avro's binary decoder over one message, which believes no length or count greater than the message.
 *
 * <p>Avro allocates what a length says before it reads: five bytes of garbage can ask for 2 GB, and would kill the
 * TaskManager again after every restart.
 */
final class MessageDecoder extends Decoder {

    private BinaryDecoder in;
    private int size;

    void reset(byte[] message, int offset) {
        size = message.length;
        in = DecoderFactory.get().binaryDecoder(message, offset, message.length - offset, in);
    }

    boolean isEnd() throws IOException {
        return in.isEnd();
    }

    @Override
    public Utf8 readString(Utf8 old) throws IOException {
        return new Utf8(readLengthAndBytes());
    }

    @Override
    public String readString() throws IOException {
        return readString(null).toString();
    }

    @Override
    public ByteBuffer readBytes(ByteBuffer old) throws IOException {
        return ByteBuffer.wrap(readLengthAndBytes());
    }

    @Override
    public long readArrayStart() throws IOException {
        return believable(in.readArrayStart());
    }

    @Override
    public long arrayNext() throws IOException {
        return believable(in.arrayNext());
    }

    @Override
    public long skipArray() throws IOException {
        return believable(in.skipArray());
    }

    @Override
    public long readMapStart() throws IOException {
        return believable(in.readMapStart());
    }

    @Override
    public long mapNext() throws IOException {
        return believable(in.mapNext());
    }

    @Override
    public long skipMap() throws IOException {
        return believable(in.skipMap());
    }

    private byte[] readLengthAndBytes() throws IOException {
        byte[] bytes = new byte[(int) believable(in.readLong())];
        in.readFixed(bytes, 0, bytes.length);
        return bytes;
    }

    private long believable(long length) {
        if (length < 0 || length > size) {
            throw new AvroRuntimeException("a length of " + length + " in " + size + " bytes");
        }
        return length;
    }

    @Override
    public void readNull() throws IOException {
        in.readNull();
    }

    @Override
    public boolean readBoolean() throws IOException {
        return in.readBoolean();
    }

    @Override
    public int readInt() throws IOException {
        return in.readInt();
    }

    @Override
    public long readLong() throws IOException {
        return in.readLong();
    }

    @Override
    public float readFloat() throws IOException {
        return in.readFloat();
    }

    @Override
    public double readDouble() throws IOException {
        return in.readDouble();
    }

    @Override
    public void readFixed(byte[] bytes, int start, int length) throws IOException {
        in.readFixed(bytes, start, length);
    }

    @Override
    public int readEnum() throws IOException {
        return in.readEnum();
    }

    @Override
    public int readIndex() throws IOException {
        return in.readIndex();
    }

    @Override
    public void skipString() throws IOException {
        in.skipString();
    }

    @Override
    public void skipBytes() throws IOException {
        in.skipBytes();
    }

    @Override
    public void skipFixed(int length) throws IOException {
        in.skipFixed(length);
    }
}
