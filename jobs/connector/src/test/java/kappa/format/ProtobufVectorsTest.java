package kappa.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The vectors that the audit's Python decodes too, tests/unit/test_protobuf_vectors.py. */
class ProtobufVectorsTest {

    private static final ObjectMapper JSON = new ObjectMapper();

    record Vector(String name, String schema, boolean framed, JsonNode content) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Vector> vectors() throws IOException {
        Path file = Path.of(System.getProperty("kappa.vectors"), "protobuf.json");
        return stream(JSON.readTree(file.toFile())).flatMap(ProtobufVectorsTest::of);
    }

    private static Stream<Vector> of(JsonNode group) {
        String schema = group.get("avro").toString();
        boolean framed = group.get("framed").asBoolean();
        return stream(group.get("messages"))
                .map(vector -> new Vector(vector.get("name").asText(), schema, framed, vector));
    }

    private static Stream<JsonNode> stream(JsonNode list) {
        return StreamSupport.stream(list.spliterator(), false);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("vectors")
    void aVectorIsItsValueOrItsReason(Vector vector) throws IOException {
        JsonNode content = vector.content;
        ReaderSchema reader = ReaderSchema.parse(vector.schema);
        byte[] body = HexFormat.of().parseHex(content.get("hex").asText());
        JsonNode found = DecodeLines.decode(DecodeLines.protobuf(vector.schema, vector.framed), reader, body);
        String kind = content.has("value") ? "value" : "reason";
        assertTrue(found.has(kind), found.toString());
        assertEquals(content.get(kind), JSON.readTree(found.get(kind).toString()));
    }
}
