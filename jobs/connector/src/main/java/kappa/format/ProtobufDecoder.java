package kappa.format;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.data.GenericRowData;

/** Messages of Protobuf, alone or behind the magic byte, schema id and message indexes of Confluent's serializers. */
final class ProtobufDecoder implements RecordDecoder {

    private static final long serialVersionUID = 1L;
    private static final int MOST_INDEXES = 64;

    private final String schema;
    private final boolean framed;

    private transient ProtobufMessage message;
    private transient List<?> indexes;

    ProtobufDecoder(String schema, boolean framed) {
        this.schema = schema;
        this.framed = framed;
    }

    @Override
    public void open() {
        Schema columns = ReaderSchema.parse(schema).schema();
        message = new ProtobufMessage(columns, new JsonPlace(""));
        indexes = (List<?>) columns.getObjectProp("indexes");
    }

    @Override
    public void decode(byte[] bytes, GenericRowData row) throws UndecodableException {
        ProtobufBytes body = new ProtobufBytes(bytes);
        if (framed) {
            TolerantAvroDeserializationSchema.schemaId(bytes); // the message is the declared one whatever schema it names
            body.moveTo(TolerantAvroDeserializationSchema.HEADER);
            checkIndexes(body);
        }
        message.readInto(row, body);
    }

    private void checkIndexes(ProtobufBytes body) throws UndecodableException {
        int count = body.readIndex();
        if (count > MOST_INDEXES) {
            throw ProtobufBytes.noIndexes();
        }
        List<Integer> found = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            found.add(body.readIndex());
        }
        if (count == 0) {
            found.add(0); // written as none, to save bytes
        }
        if (!found.equals(indexes)) {
            throw new UndecodableException("message indexes " + found + ", not " + indexes);
        }
    }
}
