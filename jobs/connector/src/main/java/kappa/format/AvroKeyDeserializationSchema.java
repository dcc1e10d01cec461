package kappa.format;

import java.io.IOException;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;

/** Decodes a record's key in Avro; UndecodableException says why not. */
final class AvroKeyDeserializationSchema implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    private final TolerantAvroDeserializationSchema tolerant;
    private final int width;

    AvroKeyDeserializationSchema(TolerantAvroDeserializationSchema tolerant, int width) {
        this.tolerant = tolerant;
        this.width = width;
    }

    @Override
    public void open(InitializationContext context) {
        tolerant.open(context);
    }

    /** Of a record without a key, columns that are NULL. */
    @Override
    public RowData deserialize(byte[] message) throws IOException {
        GenericRowData found = (GenericRowData) tolerant.deserialize(message);
        if (!found.isNullAt(width + 1)) {
            throw new UndecodableException(found.getString(width + 1).toString());
        }
        GenericRowData row = new GenericRowData(width);
        for (int i = 0; i < width; i++) {
            row.setField(i, found.getField(i));
        }
        return row;
    }

    @Override
    public boolean isEndOfStream(RowData nextElement) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return tolerant.getProducedType();
    }
}
