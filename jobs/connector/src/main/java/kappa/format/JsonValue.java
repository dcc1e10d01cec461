package kappa.format;

import java.io.IOException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/** Reads one value of a document as Flink holds it; the parser stands on its first token, and then on its last. */
interface JsonValue {

    /** UndecodableException if it is no value of the column; another IOException if it is not JSON. */
    Object read(JsonParser parser) throws IOException;

    /** The parser stands on this token; else the value is of another kind. */
    static void expect(JsonParser parser, JsonToken wanted, JsonPlace place) throws UndecodableException {
        if (parser.currentToken() != wanted) {
            throw place.reject(kind(parser.currentToken()) + ", not " + kind(wanted));
        }
    }

    static String kind(JsonToken token) {
        return switch (token) {
            case VALUE_NULL -> "null";
            case VALUE_TRUE, VALUE_FALSE -> "a boolean";
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "a number";
            case VALUE_STRING -> "a string";
            case START_ARRAY -> "an array";
            default -> "an object";
        };
    }
}
