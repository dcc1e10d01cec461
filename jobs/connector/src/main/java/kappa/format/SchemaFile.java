package kappa.format;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/**
 * The writers' schemas from a file, {"id": "schema"}, or {"id": {"kind": "JSON"}} of one that is no Avro, in the place of
 * the registry, whose words it has for what is missing.
 */
final class SchemaFile implements SchemasById {

    private final JsonNode schemas;

    SchemaFile(String file) {
        try {
            schemas = new ObjectMapper().readTree(Path.of(file).toFile());
        } catch (IOException e) {
            throw new UncheckedIOException("The schemas " + file + " cannot be read", e);
        }
    }

    @Override
    public Schema get(int id) throws IOException {
        JsonNode found = schemas.get(Integer.toString(id));
        if (found == null) {
            throw new UndecodableException("schema id " + id + " is unknown to the registry");
        }
        if (found.isObject()) {
            throw new UndecodableException("schema id " + id + " is " + found.get("kind").asText() + ", not AVRO");
        }
        try {
            return new Schema.Parser().setValidateDefaults(false).parse(found.asText());
        } catch (AvroRuntimeException e) {
            throw new UndecodableException("schema id " + id + " is not valid Avro: " + e.getMessage());
        }
    }
}
