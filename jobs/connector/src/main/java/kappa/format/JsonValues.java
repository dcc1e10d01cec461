package kappa.format;

import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.StringData;

/** Readers of the values of each type: what the schema's attribute {@code json} says, else as JSON has the type itself. */
final class JsonValues {

    private static final int LONGEST_WHOLE = 19;
    private static final Pattern BASE64 =
            Pattern.compile("(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?");

    private JsonValues() {}

    static JsonValue of(Schema schema, JsonPlace place) {
        return switch (schema.getType()) {
            case UNION -> nullable(of(AvroType.branches(schema).get(0), place));
            case RECORD -> new JsonRecord(schema, place);
            case ARRAY -> array(of(schema.getElementType(), place.items()), place);
            case MAP -> map(of(schema.getValueType(), place.values()), place);
            case BOOLEAN -> flag(place);
            case DOUBLE -> real(place);
            case INT, LONG ->
                    AvroType.of(schema) == AvroType.NONE
                            ? whole(schema.getType() == Schema.Type.INT, place)
                            : JsonTimes.of(AvroType.of(schema), schema.getProp("json"), place);
            case BYTES -> AvroType.of(schema) == AvroType.DECIMAL ? decimal(schema, place) : bytes(place);
            default -> text(place);
        };
    }

    private static JsonValue nullable(JsonValue value) {
        return parser -> parser.currentToken() == JsonToken.VALUE_NULL ? null : value.read(parser);
    }

    private static JsonValue array(JsonValue item, JsonPlace place) {
        return parser -> {
            JsonValue.expect(parser, JsonToken.START_ARRAY, place);
            List<Object> items = new ArrayList<>();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                items.add(item.read(parser));
            }
            return new GenericArrayData(items.toArray());
        };
    }

    private static JsonValue map(JsonValue value, JsonPlace place) {
        return parser -> {
            JsonValue.expect(parser, JsonToken.START_OBJECT, place);
            Map<StringData, Object> entries = new HashMap<>();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                if (!isText(name)) {
                    throw place.reject("half of a surrogate pair in a key");
                }
                StringData key = StringData.fromString(name);
                if (entries.containsKey(key)) {
                    throw place.reject("a key occurs twice");
                }
                parser.nextToken();
                entries.put(key, value.read(parser));
            }
            return new GenericMapData(entries);
        };
    }

    private static JsonValue flag(JsonPlace place) {
        return parser -> {
            JsonToken token = parser.currentToken();
            if (token != JsonToken.VALUE_TRUE) {
                JsonValue.expect(parser, JsonToken.VALUE_FALSE, place);
            }
            return token == JsonToken.VALUE_TRUE;
        };
    }

    /** The number's text. */
    static String number(JsonParser parser, JsonPlace place) throws IOException {
        if (parser.currentToken() != JsonToken.VALUE_NUMBER_FLOAT) {
            JsonValue.expect(parser, JsonToken.VALUE_NUMBER_INT, place);
        }
        return parser.getText();
    }

    static String string(JsonParser parser, JsonPlace place) throws IOException {
        JsonValue.expect(parser, JsonToken.VALUE_STRING, place);
        return parser.getText();
    }

    private static JsonValue real(JsonPlace place) {
        return parser -> {
            String text = number(parser, place);
            double found = Double.parseDouble(text);
            if (Double.isInfinite(found)) {
                throw place.rejectNumber(text, "does not fit a double");
            }
            return found;
        };
    }

    private static JsonValue whole(boolean isInt, JsonPlace place) {
        int bits = isInt ? Integer.SIZE : Long.SIZE;
        return parser -> {
            String text = number(parser, place);
            long found = whole(text, bits, place);
            if (isInt) {
                return (int) found;
            }
            return found;
        };
    }

    private static long whole(String text, int bits, JsonPlace place) throws UndecodableException {
        BigInteger found;
        if (JsonNumber.isShort(text)) {
            found = BigInteger.valueOf(Long.parseLong(text));
        } else {
            JsonNumber number = JsonNumber.parse(text);
            if (!number.isInteger(0)) {
                throw place.rejectNumber(text, "is no integer");
            }
            found = number.times(0, LONGEST_WHOLE);
        }
        if (found == null || found.bitLength() >= bits) {
            throw place.rejectNumber(text, "does not fit " + bits + " bits");
        }
        return found.longValue();
    }

    private static JsonValue decimal(Schema schema, JsonPlace place) {
        int precision = AvroType.precision(schema);
        int scale = AvroType.scale(schema);
        boolean isText = "string".equals(schema.getProp("json"));
        String unfit = String.format("does not fit decimal(%d, %d)", precision, scale);
        return parser -> {
            String text = isText ? string(parser, place) : number(parser, place);
            JsonNumber number = JsonNumber.parse(text);
            if (number == null) {
                throw place.rejectText(text, "is no number");
            }
            BigInteger found = number.isInteger(scale) ? number.times(scale, precision) : null;
            if (found == null) {
                throw isText ? place.rejectText(text, unfit) : place.rejectNumber(text, unfit);
            }
            return DecimalData.fromBigDecimal(new BigDecimal(found, scale), precision, scale);
        };
    }

    private static JsonValue bytes(JsonPlace place) {
        return parser -> {
            String text = string(parser, place);
            if (!BASE64.matcher(text).matches()) {
                throw place.rejectText(text, "is no base64");
            }
            return Base64.getDecoder().decode(text);
        };
    }

    private static JsonValue text(JsonPlace place) {
        return parser -> {
            String text = string(parser, place);
            if (!isText(text)) {
                throw place.reject("half of a surrogate pair");
            }
            return StringData.fromString(text);
        };
    }

    /** Whether every surrogate is one of a pair. */
    private static boolean isText(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                return false;
            }
        }
        return true;
    }
}
