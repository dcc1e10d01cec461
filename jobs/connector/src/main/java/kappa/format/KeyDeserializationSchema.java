package kappa.format;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;

/** Decodes a record's key; UndecodableException says why not. */
final class KeyDeserializationSchema implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    private final RecordDecoder decoder;
    private final int width;
    private final TypeInformation<RowData> producedType;

    KeyDeserializationSchema(RecordDecoder decoder, int width, TypeInformation<RowData> producedType) {
        this.decoder = decoder;
        this.width = width;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        decoder.open();
    }

    /** Of a record without a key, columns that are NULL. */
    @Override
    public RowData deserialize(byte[] message) throws UndecodableException {
        GenericRowData row = new GenericRowData(width);
        if (message != null) {
            decoder.decode(message, row);
        }
        return row;
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
