package kappa.format;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.GenericRowData;

/**
 * Reads an object as the columns of a record. Fields that the schema does not have are passed over.
 *
 * <p>The rules are those of {@code replay/avro/json_records.py}, and so are the reasons.
 */
final class JsonRecord implements JsonValue {

    private final JsonPlace place;
    private final Map<String, Integer> positions = new HashMap<>();
    private final String[] names;
    private final boolean[] required;
    private final JsonValue[] values;

    JsonRecord(Schema schema, JsonPlace place) {
        List<Schema.Field> fields = schema.getFields();
        this.place = place;
        names = fields.stream().map(Schema.Field::name).toArray(String[]::new);
        required = new boolean[names.length];
        values = new JsonValue[names.length];
        for (int i = 0; i < names.length; i++) {
            Schema.Field field = fields.get(i);
            positions.put(Objects.requireNonNullElse(field.getProp("json"), names[i]), i);
            required[i] = !field.hasDefaultValue();
            values[i] = JsonValues.of(field.schema(), place.field(names[i]));
        }
    }

    @Override
    public Object read(JsonParser parser) throws IOException {
        GenericRowData row = new GenericRowData(names.length);
        readInto(row, parser);
        return row;
    }

    /** Sets the first fields of a row. */
    void readInto(GenericRowData row, JsonParser parser) throws IOException {
        JsonValue.expect(parser, JsonToken.START_OBJECT, place);
        boolean[] seen = new boolean[names.length];
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            Integer position = positions.get(parser.currentName());
            parser.nextToken();
            if (position == null) {
                parser.skipChildren();
                continue;
            }
            int i = position;
            if (seen[i]) {
                throw place.field(names[i]).reject("occurs twice");
            }
            seen[i] = true;
            row.setField(i, values[i].read(parser));
        }
        for (int i = 0; i < names.length; i++) {
            if (required[i] && !seen[i]) {
                throw place.field(names[i]).reject("missing");
            }
        }
    }
}
