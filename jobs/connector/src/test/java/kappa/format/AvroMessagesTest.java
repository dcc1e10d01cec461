package kappa.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Messages of Avro without a registry, which the audit's Python decodes too, tests/unit/test_single_object.py. */
class AvroMessagesTest {

    private static final ObjectMapper JSON = new ObjectMapper();

    record Vector(String name, String reader, JsonNode writers, JsonNode content) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Vector> vectors() throws IOException {
        Path file = Path.of(System.getProperty("kappa.vectors"), "avro_messages.json");
        return stream(JSON.readTree(file.toFile())).flatMap(AvroMessagesTest::ofGroup);
    }

    private static Stream<Vector> ofGroup(JsonNode group) {
        ArrayNode writers = group.has("writers") ? JSON.createArrayNode() : null;
        if (writers != null) {
            group.get("writers").forEach(schema -> writers.add(schema.toString()));
        }
        String reader = group.get("reader").toString();
        return stream(group.get("messages")).map(each -> new Vector(each.get("name").asText(), reader, writers, each));
    }

    private static Stream<JsonNode> stream(JsonNode list) {
        return StreamSupport.stream(list.spliterator(), false);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("vectors")
    void aVectorIsItsValueOrItsReason(Vector vector) throws IOException {
        RecordDecoder decoder = DecodeLines.decoder(vector.reader, vector.writers);
        byte[] message = HexFormat.of().parseHex(vector.content.get("message").asText());
        JsonNode found = DecodeLines.decode(decoder, ReaderSchema.parse(vector.reader), message);
        String kind = vector.content.has("value") ? "value" : "reason";
        assertTrue(found.has(kind), found.toString());
        assertEquals(vector.content.get(kind), JSON.readTree(found.get(kind).toString()));
    }

    @Test
    void aSchemaThatIsNoRecordIsRefused() {
        AvroDecoder decoder = new AvroDecoder(
                "{\"type\": \"record\", \"name\": \"r\", \"fields\": [{\"name\": \"a\", \"type\": \"int\"}]}", List.of("\"int\""));
        assertThrows(IllegalArgumentException.class, decoder::open);
    }
}
