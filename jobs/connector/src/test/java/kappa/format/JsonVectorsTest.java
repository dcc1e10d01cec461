package kappa.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The vectors that the audit's Python decodes too, tests/unit/test_json_vectors.py. */
class JsonVectorsTest {

    private static final ObjectMapper JSON = new ObjectMapper();

    record Vector(String name, JsonNode schema, JsonNode content) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Vector> vectors() throws IOException {
        Path file = Path.of(System.getProperty("kappa.vectors"), "json.json");
        return stream(JSON.readTree(file.toFile()))
                .flatMap(
                        group ->
                                stream(group.get("documents"))
                                        .map(vector -> new Vector(vector.get("name").asText(), group.get("avro"), vector)));
    }

    private static Stream<JsonNode> stream(JsonNode list) {
        return StreamSupport.stream(list.spliterator(), false);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("vectors")
    void aVectorIsItsValueOrItsReason(Vector vector) throws IOException {
        JsonNode content = vector.content;
        ReaderSchema reader = ReaderSchema.parse(vector.schema.toString());
        byte[] body =
                content.has("hex")
                        ? HexFormat.of().parseHex(content.get("hex").asText())
                        : content.get("text").asText().getBytes(StandardCharsets.UTF_8);
        JsonNode found = DecodeLines.decode(DecodeLines.json(vector.schema.toString()), reader, body);
        String kind = content.has("value") ? "value" : "reason";
        assertTrue(found.has(kind), found.toString());
        assertEquals(content.get(kind), JSON.readTree(found.get(kind).toString()));
    }
}
