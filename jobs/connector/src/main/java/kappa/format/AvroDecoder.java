package kappa.format;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.SchemaNormalization;
import org.apache.flink.table.data.GenericRowData;

/**
 * Avro whose schemas are known without a registry: bodies alone, or Avro's single-object encoding, where a marker of two
 * bytes and the fingerprint of the writer's schema in eight stand before each.
 *
 * <p>{@code replay/avro/single_object.py} does the same in Python, apart from this.
 */
final class AvroDecoder implements RecordDecoder {

    private static final long serialVersionUID = 1L;
    private static final byte[] MARKER = {(byte) 0xc3, 0x01};
    private static final int HEADER = MARKER.length + Long.BYTES;
    private static final String BODIES = "the folder's schema";

    /** What reads records of one writer's schema, and what reasons call it. */
    private record Written(RecordReader reader, String name) {}

    private final String schema;
    private final ArrayList<String> writers;

    private transient Body body;
    private transient Written alone;
    private transient Map<Long, Written> byFingerprint;

    /** @param writers the schemas of records behind fingerprints; null: bodies alone, written with {@code schema} */
    AvroDecoder(String schema, List<String> writers) {
        this.schema = schema;
        this.writers = writers == null ? null : new ArrayList<>(writers);
    }

    @Override
    public void open() {
        body = new Body();
        ReaderSchema reader = ReaderSchema.parse(schema);
        if (writers == null) {
            alone = written(reader.schema(), reader, BODIES);
            return;
        }
        byFingerprint = new HashMap<>();
        for (String text : writers) {
            Schema writer = parse(text);
            long fingerprint = SchemaNormalization.parsingFingerprint64(writer);
            byFingerprint.put(fingerprint, written(writer, reader, named(fingerprint)));
        }
    }

    static Schema parse(String text) {
        return new Schema.Parser().setValidateDefaults(false).parse(text); // of a writer no default is asked for
    }

    private static Written written(Schema writer, ReaderSchema reader, String name) {
        try {
            return new Written(Resolution.of(writer, reader, name), name);
        } catch (UndecodableException e) {
            throw new IllegalArgumentException("The schemas are of records: " + e.getMessage(), e);
        }
    }

    @Override
    public void decode(byte[] message, GenericRowData row) throws UndecodableException {
        Written written = alone;
        if (written == null) {
            long fingerprint = fingerprint(message);
            written = byFingerprint.get(fingerprint);
            if (written == null) {
                throw new UndecodableException(named(fingerprint) + " is of no schema in the folder");
            }
        }
        body.reset(message, alone == null ? HEADER : 0);
        TolerantAvroDeserializationSchema.read(body, written.reader, written.name, row);
    }

    /** By which a record names what it was written with. */
    static long fingerprint(byte[] message) throws UndecodableException {
        if (message.length == 0) {
            throw new UndecodableException("empty value");
        }
        int length = Math.min(message.length, MARKER.length);
        if (!Arrays.equals(message, 0, length, MARKER, 0, length)) {
            HexFormat hex = HexFormat.of();
            throw new UndecodableException(
                    "marker is 0x" + hex.formatHex(message, 0, length) + ", not 0x" + hex.formatHex(MARKER));
        }
        if (message.length < HEADER) {
            throw new UndecodableException("too short for a fingerprint: " + message.length + " bytes");
        }
        long found = 0;
        for (int i = HEADER - 1; i >= MARKER.length; i--) {
            found = found << Byte.SIZE | message[i] & 0xff;
        }
        return found;
    }

    /** What reasons call a schema: by its fingerprint's bytes as they stand in a record. */
    private static String named(long fingerprint) {
        return "fingerprint " + HexFormat.of().toHexDigits(Long.reverseBytes(fingerprint));
    }
}
