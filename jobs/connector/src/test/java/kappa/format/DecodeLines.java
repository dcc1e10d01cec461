package kappa.format;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.types.logical.RowType;

/**
 * Decodes what it is given in lines of JSON, {@code {"writer": …, "reader": …, "bodies": [hex…]}}, of documents of JSON without
 * a writer, of whole messages for the format {@code avro-tolerant} with {@code {"writers": […] or null}}, of messages of
 * Protobuf with {@code "framed": true or false}, and answers each with a line: {@code {"type": …, "results": [{"value": …} or {"reason": …}]}}, or {@code {"refused": …}} of the reader schema.
 */
final class DecodeLines {

    static final int SCHEMA_ID = 7;
    private static final byte[] HEADER = {0, 0, 0, 0, SCHEMA_ID};
    private static final ObjectMapper JSON = new ObjectMapper();

    private DecodeLines() {}

    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            out.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
            out.flush();
        }
    }

    private static ObjectNode answer(JsonNode asked) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            ReaderSchema reader = ReaderSchema.parse(asked.get("reader").asText());
            if (asked.has("writers")) {
                return messages(asked, reader, answer);
            }
            Schema writer =
                    asked.has("writer")
                            ? new Schema.Parser().setValidateDefaults(false).parse(asked.get("writer").asText())
                            : null;
            RecordDecoder decoder = writer == null ? decoder(asked) : null;
            answer.put("type", AvroType.columns(reader.schema()).asSerializableString());
            ArrayNode results = answer.putArray("results");
            for (JsonNode body : asked.get("bodies")) {
                byte[] bytes = HexFormat.of().parseHex(body.asText());
                results.add(writer == null ? decode(decoder, reader, bytes) : decode(writer, reader, bytes));
            }
        } catch (ValidationException | AvroRuntimeException e) {
            answer.put("refused", e.getMessage());
        }
        return answer;
    }

    private static ObjectNode messages(JsonNode asked, ReaderSchema reader, ObjectNode answer) {
        RecordDecoder decoder = decoder(asked.get("reader").asText(), asked.get("writers"));
        ArrayNode results = answer.putArray("results");
        for (JsonNode body : asked.get("bodies")) {
            results.add(decode(decoder, reader, HexFormat.of().parseHex(body.asText())));
        }
        return answer;
    }

    /** @param writers a list of texts; null or nothing: bodies alone */
    static RecordDecoder decoder(String reader, JsonNode writers) {
        List<String> texts = writers == null || writers.isNull() ? null : new ArrayList<>();
        if (texts != null) {
            writers.forEach(text -> texts.add(text.asText()));
        }
        return opened(new AvroDecoder(reader, texts));
    }

    static ObjectNode decode(RecordDecoder decoder, ReaderSchema reader, byte[] message) {
        RowType columns = AvroType.columns(reader.schema());
        GenericRowData row = new GenericRowData(columns.getFieldCount());
        ObjectNode result = JSON.createObjectNode();
        try {
            decoder.decode(message, row);
            result.set("value", Rendered.row(row, columns));
        } catch (UndecodableException e) {
            result.put("reason", e.getMessage());
        }
        return result;
    }

    static ObjectNode decode(Schema writer, ReaderSchema reader, byte[] body) {
        RowType columns = AvroType.columns(reader.schema());
        GenericRowData row = new GenericRowData(columns.getFieldCount());
        ObjectNode result = JSON.createObjectNode();
        try {
            String written = TolerantAvroDeserializationSchema.named(SCHEMA_ID);
            RecordReader records = Resolution.of(writer, reader, written);
            Body bytes = new Body();
            bytes.reset(Fixtures.join(HEADER, body), HEADER.length);
            TolerantAvroDeserializationSchema.read(bytes, records, written, row);
            result.set("value", Rendered.row(row, columns));
        } catch (UndecodableException e) {
            result.put("reason", e.getMessage());
        }
        return result;
    }

    private static RecordDecoder decoder(JsonNode asked) {
        String schema = asked.get("reader").asText();
        return asked.has("framed") ? protobuf(schema, asked.get("framed").asBoolean()) : json(schema);
    }

    static RecordDecoder json(String schema) {
        return opened(new JsonDecoder(schema, false));
    }

    static RecordDecoder protobuf(String schema, boolean framed) {
        return opened(new ProtobufDecoder(schema, framed));
    }

    private static RecordDecoder opened(RecordDecoder decoder) {
        decoder.open();
        return decoder;
    }
}
