package kappa.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The vectors that the audit's Python decodes too, tests/unit/test_avro_vectors.py. */
class AvroVectorsTest {

    private static final ObjectMapper JSON = new ObjectMapper();

    record Vector(String name, JsonNode content) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Vector> vectors() throws IOException {
        Path file = Path.of(System.getProperty("kappa.vectors"), "avro.json");
        JsonNode found = JSON.readTree(file.toFile());
        return StreamSupport.stream(found.spliterator(), false)
                .map(vector -> new Vector(vector.get("name").asText(), vector));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("vectors")
    void aVectorIsItsValueOrItsReason(Vector vector) throws IOException {
        JsonNode content = vector.content;
        Schema writer = new Schema.Parser().parse(content.get("writer").toString());
        ReaderSchema reader = ReaderSchema.parse(content.get(content.has("reader") ? "reader" : "writer").toString());
        JsonNode found = DecodeLines.decode(writer, reader, HexFormat.of().parseHex(content.get("body").asText()));
        String kind = content.has("value") ? "value" : "reason";
        assertTrue(found.has(kind), found.toString());
        assertEquals(content.get(kind), JSON.readTree(found.get(kind).toString()));
    }
}
