package kappa.format;

import java.io.Serializable;
import org.apache.flink.table.data.GenericRowData;

/** Decodes bytes without asking anybody. */
interface RecordDecoder extends Serializable {

    /** Once, where the records are read. */
    void open();

    /** Sets a row's first columns; it may have set some before it rejects the bytes. */
    void decode(byte[] message, GenericRowData row) throws UndecodableException;
}
