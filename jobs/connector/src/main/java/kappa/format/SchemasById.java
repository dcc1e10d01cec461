package kappa.format;

import java.io.IOException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;

/** The schemas that records were written with. */
interface SchemasById {

    /** The schema of an id; UndecodableException if there is no such Avro schema. An id never changes its meaning. */
    Schema get(int id) throws IOException;
}
