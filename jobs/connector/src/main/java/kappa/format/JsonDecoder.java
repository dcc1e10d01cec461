package kappa.format;

import org.apache.flink.table.data.GenericRowData;

/** Documents of JSON, alone or behind the magic byte and the schema id of Confluent's serializers. */
final class JsonDecoder implements RecordDecoder {

    private static final long serialVersionUID = 1L;

    private final String schema;
    private final boolean framed;

    private transient JsonDocument document;

    JsonDecoder(String schema, boolean framed) {
        this.schema = schema;
        this.framed = framed;
    }

    @Override
    public void open() {
        document = new JsonDocument(new JsonRecord(ReaderSchema.parse(schema).schema(), new JsonPlace("")));
    }

    @Override
    public void decode(byte[] message, GenericRowData row) throws UndecodableException {
        if (framed) {
            TolerantAvroDeserializationSchema.schemaId(message); // what is written is JSON whatever schema it names
        }
        document.readInto(row, message, framed ? TolerantAvroDeserializationSchema.HEADER : 0);
    }
}
