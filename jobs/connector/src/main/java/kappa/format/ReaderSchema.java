package kappa.format;

import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.SchemaParseException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/**
 * The schema that a table's columns are the fields of, and the defaults of its fields as they were written.
 *
 * <p>Avro 1.11 gives away a default only as a value of a union's first branch. Later ones allow a default of any.
 */
final class ReaderSchema {

    private final Schema schema;
    private final Map<Schema.Field, JsonNode> defaults = new IdentityHashMap<>();

    private ReaderSchema(Schema schema) {
        this.schema = schema;
    }

    /** Defaults that are not of their type reject the records that need them. */
    static ReaderSchema parse(String text) {
        ReaderSchema found = new ReaderSchema(new Schema.Parser().setValidateDefaults(false).parse(text));
        try {
            found.collect(new ObjectMapper().readTree(text), found.schema);
        } catch (JsonProcessingException e) {
            throw new SchemaParseException(e);
        }
        return found;
    }

    Schema schema() {
        return schema;
    }

    /** Null if a field has none. */
    JsonNode defaultOf(Schema.Field field) {
        return defaults.get(field);
    }

    private void collect(JsonNode text, Schema type) {
        if (text.isTextual()) {
            return; // a name: what it is stands where it is defined
        }
        switch (type.getType()) {
            case ARRAY -> collect(text.get("items"), type.getElementType());
            case MAP -> collect(text.get("values"), type.getValueType());
            case UNION -> {
                List<Schema> branches = type.getTypes();
                for (int i = 0; i < branches.size(); i++) {
                    collect(text.get(i), branches.get(i));
                }
            }
            case RECORD -> {
                JsonNode fields = text.get("fields");
                for (int i = 0; fields != null && i < fields.size(); i++) { // none: another form of a name
                    Schema.Field field = type.getFields().get(i);
                    if (fields.get(i).has("default")) {
                        defaults.put(field, fields.get(i).get("default"));
                    }
                    collect(fields.get(i).get("type"), field.schema());
                }
            }
            default -> {}
        }
    }
}
