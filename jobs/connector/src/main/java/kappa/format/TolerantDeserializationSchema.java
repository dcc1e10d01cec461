package kappa.format;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/** Decodes a record's value, or says in its row why it cannot be decoded: see {@link TolerantAvroFormatFactory}. */
final class TolerantDeserializationSchema implements DeserializationSchema<RowData> {

    private static final long serialVersionUID = 1L;

    private final RecordDecoder decoder;
    private final int width;
    private final TypeInformation<RowData> producedType;

    private transient Counter undecodable;

    TolerantDeserializationSchema(RecordDecoder decoder, int width, TypeInformation<RowData> producedType) {
        this.decoder = decoder;
        this.width = width;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        decoder.open();
        undecodable = context.getMetricGroup().counter("undecodableRecords");
    }

    /** A row for every record. */
    @Override
    public RowData deserialize(byte[] message) {
        GenericRowData row = new GenericRowData(width + 2);
        if (message == null) {
            return row;
        }
        try {
            decoder.decode(message, row);
        } catch (UndecodableException e) {
            undecodable.inc();
            row = new GenericRowData(width + 2); // another: columns may be set before one is rejected
            row.setField(width + 1, StringData.fromString(e.getMessage()));
        }
        row.setField(width, message);
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
