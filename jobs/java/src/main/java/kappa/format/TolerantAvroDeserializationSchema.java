package kappa.format;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.DatumReader;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Decodes one record, or says why it cannot be decoded.
 *
 * <p>Flink's RegistryAvroDeserializationSchema is not used: its decoder buffers the stream it reads from, so what a bad
 * record leaves unread is taken for the beginning of the next, good one. Here every record gets the decoder reset.
 */
final class TolerantAvroDeserializationSchema implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;
    private static final byte MAGIC = 0;
    private static final int HEADER = 1 + Integer.BYTES;

    private final String readerSchema;
    private final RecordConverter converter;
    private final int width;
    private final WriterSchemas.Settings registry;
    private final TypeInformation<RowData> producedType;

    private transient Schema reader;
    private transient WriterSchemas writers;
    private transient Map<Integer, DatumReader<GenericRecord>> readers;
    private transient MessageDecoder decoder;
    private transient Counter undecodable;

    TolerantAvroDeserializationSchema(
            String readerSchema,
            RecordConverter converter,
            int width,
            WriterSchemas.Settings registry,
            TypeInformation<RowData> producedType) {
        this.readerSchema = readerSchema;
        this.converter = converter;
        this.width = width;
        this.registry = registry;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        reader = new Schema.Parser().parse(readerSchema);
        writers = new WriterSchemas(registry);
        readers = new HashMap<>();
        decoder = new MessageDecoder();
        undecodable = context.getMetricGroup().counter("undecodableRecords");
    }

    /** A row for every record; fails only when the registry cannot be asked. */
    @Override
    public RowData deserialize(byte[] message) throws IOException {
        GenericRowData row = new GenericRowData(width + 2);
        if (message == null) {
            return row;
        }
        row.setField(width, message);
        try {
            decode(message, row);
        } catch (UndecodableException e) {
            row.setField(width + 1, StringData.fromString(e.getMessage()));
            undecodable.inc();
        }
        return row;
    }

    private void decode(byte[] message, GenericRowData row) throws IOException {
        int id = schemaId(message);
        DatumReader<GenericRecord> datumReader = reader(id);
        try {
            decoder.reset(message, HEADER);
            GenericRecord record = datumReader.read(null, decoder);
            if (!decoder.isEnd()) {
                throw new UndecodableException("body goes on after the end of a record of schema id " + id);
            }
            converter.convert(record, row);
        } catch (UndecodableException e) {
            throw e;
        } catch (EOFException e) {
            throw new UndecodableException("body ends before the end of a record of schema id " + id);
        } catch (IOException | RuntimeException e) {
            // The JVM drops the message of its own exceptions once the code is hot; a replay must give the same reason.
            String why = e instanceof AvroRuntimeException ? e.getMessage() : e.getClass().getSimpleName();
            throw new UndecodableException("body is not a record of schema id " + id + ": " + why);
        }
    }

    private static int schemaId(byte[] message) throws UndecodableException {
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

    private DatumReader<GenericRecord> reader(int id) throws IOException {
        DatumReader<GenericRecord> known = readers.get(id);
        if (known == null) {
            known = new GenericDatumReader<>(writers.get(id), reader);
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
