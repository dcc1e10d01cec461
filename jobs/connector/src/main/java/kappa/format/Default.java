package kappa.format;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Map;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.io.BinaryEncoder;
import org.apache.flink.avro.shaded.org.apache.avro.io.EncoderFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;

/** The default of a field, in Avro's binary encoding. A union's is of the first branch that it fits. */
final class Default {

    private final ReaderSchema schemas;

    Default(ReaderSchema schemas) {
        this.schemas = schemas;
    }

    /** Null if the default is not of its type. */
    byte[] encode(Schema schema, JsonNode value) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
        try {
            return value != null && write(schema, value, encoder) ? out.toByteArray() : null;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private boolean write(Schema schema, JsonNode value, BinaryEncoder out) throws IOException {
        return switch (schema.getType()) {
            case NULL -> value.isNull();
            case BOOLEAN -> value.isBoolean() && done(() -> out.writeBoolean(value.booleanValue()));
            case INT ->
                    value.isIntegralNumber()
                            && value.canConvertToInt()
                            && done(() -> out.writeInt(value.intValue()));
            case LONG ->
                    value.isIntegralNumber()
                            && value.canConvertToLong()
                            && done(() -> out.writeLong(value.longValue()));
            case FLOAT ->
                    value.isNumber()
                            && Float.isFinite((float) value.doubleValue())
                            && done(() -> out.writeFloat((float) value.doubleValue()));
            case DOUBLE ->
                    value.isNumber()
                            && Double.isFinite(value.doubleValue())
                            && done(() -> out.writeDouble(value.doubleValue()));
            case STRING -> value.isTextual() && done(() -> out.writeString(value.textValue()));
            case BYTES -> isBytes(value) && done(() -> out.writeBytes(bytes(value)));
            case FIXED ->
                    isBytes(value)
                            && bytes(value).length == schema.getFixedSize()
                            && done(() -> out.writeFixed(bytes(value)));
            case ENUM ->
                    value.isTextual()
                            && schema.hasEnumSymbol(value.textValue())
                            && done(() -> out.writeEnum(schema.getEnumOrdinal(value.textValue())));
            case ARRAY -> value.isArray() && writeArray(schema.getElementType(), value, out);
            case MAP -> value.isObject() && writeMap(schema.getValueType(), value, out);
            case RECORD -> value.isObject() && writeRecord(schema, value, out);
            case UNION -> writeUnion(schema, value, out);
        };
    }

    private boolean writeArray(Schema items, JsonNode values, BinaryEncoder out) throws IOException {
        out.writeArrayStart();
        out.setItemCount(values.size());
        for (JsonNode value : values) {
            if (!write(items, value, out)) {
                return false;
            }
        }
        out.writeArrayEnd();
        return true;
    }

    private boolean writeMap(Schema type, JsonNode values, BinaryEncoder out) throws IOException {
        out.writeMapStart();
        out.setItemCount(values.size());
        for (Iterator<Map.Entry<String, JsonNode>> entries = values.fields(); entries.hasNext(); ) {
            Map.Entry<String, JsonNode> entry = entries.next();
            out.writeString(entry.getKey());
            if (!write(type, entry.getValue(), out)) {
                return false;
            }
        }
        out.writeMapEnd();
        return true;
    }

    private boolean writeRecord(Schema schema, JsonNode values, BinaryEncoder out) throws IOException {
        for (Schema.Field field : schema.getFields()) {
            JsonNode value = values.has(field.name()) ? values.get(field.name()) : schemas.defaultOf(field);
            if (value == null || !write(field.schema(), value, out)) {
                return false;
            }
        }
        return true;
    }

    private boolean writeUnion(Schema union, JsonNode value, BinaryEncoder out) throws IOException {
        for (int i = 0; i < union.getTypes().size(); i++) {
            byte[] branch = encode(union.getTypes().get(i), value);
            if (branch != null) {
                out.writeIndex(i);
                out.writeFixed(branch);
                return true;
            }
        }
        return false;
    }

    /** Avro has bytes as text, a character for each. */
    private static boolean isBytes(JsonNode value) {
        return value.isTextual() && value.textValue().chars().allMatch(c -> c < 256);
    }

    private static byte[] bytes(JsonNode value) {
        return value.textValue().getBytes(StandardCharsets.ISO_8859_1);
    }

    private static boolean done(Write write) throws IOException {
        write.run();
        return true;
    }

    private interface Write {
        void run() throws IOException;
    }
}
