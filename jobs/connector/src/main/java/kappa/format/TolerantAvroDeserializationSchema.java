package kappa.format;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Decodes one record, or says why it cannot be decoded.
 *
 * <p>Nothing of Flink's Avro formats is used. Their decoder buffers the stream it reads from, so what a bad record leaves
 * unread is taken for the beginning of the next, good one; their converters take every long for milliseconds, know no
 * decimals or enums on fixed, and lose the reader schema's defaults and aliases.
 */
final class TolerantAvroDeserializationSchema implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;
    private static final byte MAGIC = 0;
    static final int HEADER = 1 + Integer.BYTES;

    private final String readerSchema;
    private final int width;
    private final WriterSchemas.Settings registry;
    private final String schemas;
    private final TypeInformation<RowData> producedType;

    private transient ReaderSchema reader;
    private transient SchemasById writers;
    private transient Map<Integer, RecordReader> readers;
    private transient Body body;
    private transient Counter undecodable;

    /** @param schemas a file with the writers' schemas, in the place of the registry; null for that */
    TolerantAvroDeserializationSchema(
            String readerSchema,
            int width,
            WriterSchemas.Settings registry,
            String schemas,
            TypeInformation<RowData> producedType) {
        this.readerSchema = readerSchema;
        this.width = width;
        this.registry = registry;
        this.schemas = schemas;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        reader = ReaderSchema.parse(readerSchema);
        writers = schemas == null ? new WriterSchemas(registry) : new SchemaFile(schemas);
        readers = new HashMap<>();
        body = new Body();
        undecodable = context.getMetricGroup().counter("undecodableRecords");
    }

    /** A row for every record; fails only when the registry cannot be asked. */
    @Override
    public RowData deserialize(byte[] message) throws IOException {
        if (message == null) {
            return new GenericRowData(width + 2);
        }
        try {
            GenericRowData row = new GenericRowData(width + 2);
            int id = schemaId(message);
            body.reset(message, HEADER);
            read(body, reader(id), named(id), row);
            row.setField(width, message);
            return row;
        } catch (UndecodableException e) {
            undecodable.inc();
            GenericRowData row = new GenericRowData(width + 2); // another: columns may be set before one is rejected
            row.setField(width, message);
            row.setField(width + 1, StringData.fromString(e.getMessage()));
            return row;
        }
    }

    /** What reasons call the schema of an id. */
    static String named(int id) {
        return "schema id " + id;
    }

    /** Sets a row's first columns from a body, which ends with the record of the schema that it was written with. */
    static void read(Body body, RecordReader reader, String written, GenericRowData row) throws UndecodableException {
        try {
            reader.readInto(row, body);
        } catch (UndecodableException e) {
            throw e;
        } catch (EOFException e) {
            throw new UndecodableException("body ends before the end of a record of " + written);
        } catch (IOException | RuntimeException | StackOverflowError e) {
            // No value is known to come here. The JVM drops the message of its own exceptions once the code is hot, and a
            // replay must give the same reason.
            throw new UndecodableException("body is not a record of " + written + ": " + e.getClass().getSimpleName());
        }
        if (!body.isEnd()) {
            throw new UndecodableException("body goes on after the end of a record of " + written);
        }
    }

    static int schemaId(byte[] message) throws UndecodableException {
        if (message.length == 0) {
            throw new UndecodableException("empty value");
        }
        if (message[0] != MAGIC) {
            throw new UndecodableException(String.format("magic byte is 0x%02x, not 0x00", message[0]));
        }
        if (message.length < HEADER) {
            throw new UndecodableException("too short for a schema id: " + message.length + " bytes");
        }
        return ByteBuffer.wrap(message).getInt(1);
    }

    private RecordReader reader(int id) throws IOException {
        RecordReader known = readers.get(id);
        if (known == null) {
            known = Resolution.of(writers.get(id), reader, named(id));
            readers.put(id, known);
        }
        return known;
    }

    @Override
    public boolean isEndOfStream(RowData nextElement) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return producedType;
    }
}
