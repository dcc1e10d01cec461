package kappa.format;

import static kappa.format.Fixtures.ERROR;
import static kappa.format.Fixtures.FLIGHT;
import static kappa.format.Fixtures.PAYLOAD;
import static kappa.format.Fixtures.TABLE;
import static kappa.format.Fixtures.create;
import static kappa.format.Fixtures.decoder;
import static kappa.format.Fixtures.flight;
import static kappa.format.Fixtures.header;
import static kappa.format.Fixtures.join;
import static kappa.format.Fixtures.message;
import static kappa.format.Fixtures.open;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class TolerantAvroDeserializationSchemaTest {

    private TestRegistry registry;
    private DeserializationSchema<RowData> decoder;

    @BeforeEach
    void start() throws Exception {
        registry = new TestRegistry();
        registry.knows(1, FLIGHT);
        decoder = decoder(registry.url(), "unknown-id.ttl", "200 ms", "registry.timeout", "2 s");
    }

    @AfterEach
    void stop() {
        registry.close();
    }

    @Test
    void aGoodRecordHasItsColumnsItsBytesAndNoError() throws IOException {
        byte[] bytes = flight(1, "UA", -7);
        RowData row = decoder.deserialize(bytes);
        assertGood(row, "UA", -7);
        assertEquals(15_706, row.getInt(1));
        assertEquals(1_357_000_000_123L, row.getTimestamp(2, 3).getMillisecond());
        assertSame(bytes, row.getBinary(PAYLOAD), "not copied");
        assertEquals(RowKind.INSERT, row.getRowKind());
        assertEquals(TABLE.getLogicalType().getChildren().size(), row.getArity());
    }

    @Test
    void textIsReadAsUtf8AndWhatIsNoUtf8IsAReject() throws IOException {
        assertGood(decoder.deserialize(flight(1, "Z\u00fcrich", 1)), "Z\u00fcrich", 1);
        byte[] bytes = flight(1, "UA", 1);
        int at = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("UA");
        bytes[at] = (byte) 0xff;
        String error = decoder.deserialize(bytes).getString(ERROR).toString();
        assertEquals("field carrier: bytes that are no UTF-8 (schema id 1)", error);
    }

    @Test
    void whatIsRejectedInItsLastFieldLeavesTheFirstOnesNull() throws IOException {
        byte[] bytes = flight(1, "UA", 5);
        RowData row = decoder.deserialize(Arrays.copyOf(bytes, bytes.length - 1));
        assertTrue(row.isNullAt(0));
        assertFalse(row.isNullAt(ERROR));
    }

    @Test
    void aTextOfMegabytesIsReadWhole() throws IOException {
        String long6Mb = "\u00fc".repeat(3 << 20);
        RowData row = decoder.deserialize(flight(1, long6Mb, 5));
        assertGood(row, long6Mb, 5);
    }

    @Test
    void aNullOfTheRecordIsANullOfTheRow() throws IOException {
        RowData row = decoder.deserialize(flight(1, "UA", null));
        assertTrue(row.isNullAt(3));
        assertTrue(row.isNullAt(ERROR));
    }

    static Stream<Arguments> garbage() {
        byte[] good = flight(1, "UA", 5);
        byte[] longText = join(header(1), new byte[] {(byte) 0xfe, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0x0f});
        return Stream.of(
                Arguments.of("text", "not Avro".getBytes(StandardCharsets.UTF_8), "magic byte is 0x6e, not 0x00"),
                Arguments.of("empty", new byte[0], "empty value"),
                Arguments.of("magic byte only", new byte[] {0}, "too short for a schema id: 1 bytes"),
                Arguments.of("half a schema id", new byte[] {0, 0, 0, 0}, "too short for a schema id: 4 bytes"),
                Arguments.of("no body", header(1), "body ends before the end of a record of schema id 1"),
                Arguments.of(
                        "truncated body",
                        Arrays.copyOf(good, good.length - 1),
                        "body ends before the end of a record of schema id 1"),
                Arguments.of(
                        "trailing garbage",
                        join(good, "garbage".getBytes(StandardCharsets.UTF_8)),
                        "body goes on after the end of a record of schema id 1"),
                Arguments.of("unknown schema id", flight(999, "UA", 5), "schema id 999 is unknown to the registry"),
                Arguments.of("negative schema id", flight(-5, "UA", 5), "schema id -5 is unknown to the registry"),
                Arguments.of("wrong magic byte", with(good, 0, 1), "magic byte is 0x01, not 0x00"),
                Arguments.of(
                        "a text of 2 GB",
                        longText,
                        "field carrier: a length of 2147483647 in 10 bytes (schema id 1)"),
                Arguments.of(
                        "a text of negative length",
                        join(header(1), new byte[] {3, 0}),
                        "field carrier: a length of -2 in 7 bytes (schema id 1)"),
                Arguments.of(
                        "no such branch of a union",
                        with(good, good.length - 2, 40),
                        "field delay: no branch 20 of the union (schema id 1)"));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("garbage")
    void garbageIsARowWithItsBytesAndTheReason(String name, byte[] bytes, String reason) throws IOException {
        RowData row = decoder.deserialize(bytes);
        assertEquals(reason, row.getString(ERROR).toString());
        assertSame(bytes, row.getBinary(PAYLOAD));
        for (int i = 0; i < PAYLOAD; i++) {
            assertTrue(row.isNullAt(i));
        }
    }

    @ParameterizedTest(name = "after {0}")
    @MethodSource("garbage")
    void aGoodRecordIsReadWholeAfterGarbage(String name, byte[] bytes, String reason) throws IOException {
        decoder.deserialize(flight(1, "AA", 1));
        decoder.deserialize(bytes);
        assertGood(decoder.deserialize(flight(1, "UA", 2)), "UA", 2);
    }

    @Test
    void aTombstoneIsEmittedWithNothingInIt() throws IOException {
        List<RowData> emitted = new ArrayList<>();
        decoder.deserialize(
                null,
                new Collector<>() {
                    @Override
                    public void collect(RowData row) {
                        emitted.add(row);
                    }

                    @Override
                    public void close() {}
                });
        assertEquals(1, emitted.size());
        for (int i = 0; i <= ERROR; i++) {
            assertTrue(emitted.get(0).isNullAt(i));
        }
    }

    @Test
    void rowsShareNothing() throws IOException {
        RowData first = decoder.deserialize(flight(1, "AA", 1));
        decoder.deserialize(flight(1, "UA", 2));
        assertGood(first, "AA", 1);
    }

    @Test
    void undecodableRecordsAreCounted() throws Exception {
        SimpleCounter counter = new SimpleCounter();
        DeserializationSchema<RowData> counting = open(create(TABLE, registry.url()), counter);
        counting.deserialize(flight(1, "UA", 1));
        counting.deserialize(null);
        counting.deserialize(new byte[0]);
        assertEquals(1, counter.getCount());
    }

    @Test
    void theRegistryIsAskedOncePerSchemaIdKnownOrNot() throws Exception {
        for (int i = 0; i < 1_000; i++) {
            decoder.deserialize(flight(1, "UA", i));
            decoder.deserialize(flight(1, "UA", i + 1_000));
        }
        assertEquals(1, registry.requests());
        DeserializationSchema<RowData> patient = decoder(registry.url());
        for (int i = 0; i < 10_000; i++) {
            patient.deserialize(flight(999, "UA", i));
        }
        assertEquals(2, registry.requests());
    }

    @Test
    void anIdThatTheRegistryLearnsLaterIsDecoded() throws Exception {
        byte[] early = flight(2, "UA", 5);
        assertFalse(decoder.deserialize(early).isNullAt(ERROR));
        registry.knows(2, FLIGHT);
        assertFalse(decoder.deserialize(early).isNullAt(ERROR), "not asked for again at once");
        Thread.sleep(250);
        assertGood(decoder.deserialize(early), "UA", 5);
    }

    @Test
    void whileTheRegistryFailsTheRecordWaits() throws IOException {
        registry.fail(2, 503, "{\"error_code\": 50003, \"message\": \"not the leader\"}");
        assertGood(decoder.deserialize(flight(1, "UA", 5)), "UA", 5);
        assertEquals(3, registry.requests());
    }

    @Test
    void aRegistryThatStaysDownFailsTheJobAndRejectsNothing() throws Exception {
        registry.goDown();
        DeserializationSchema<RowData> hasty = decoder(registry.url(), "registry.timeout", "300 ms");
        IOException down = assertThrows(IOException.class, () -> hasty.deserialize(flight(1, "UA", 5)));
        assertEquals(
                "Schema registry " + registry.url() + " gave no schema for id 1 within 0.3 s", down.getMessage());
        registry.comeBack();
        assertGood(hasty.deserialize(flight(1, "UA", 5)), "UA", 5);
    }

    @Test
    void whatIsKnownIsDecodedWhileTheRegistryIsDown() throws IOException {
        decoder.deserialize(flight(1, "UA", 1));
        registry.goDown();
        assertGood(decoder.deserialize(flight(1, "UA", 2)), "UA", 2);
        assertFalse(decoder.deserialize("text".getBytes(StandardCharsets.UTF_8)).isNullAt(ERROR));
    }

    @Test
    void anOlderWriterLeavesANewColumnNull() throws IOException {
        String older =
                """
                {"type": "record", "name": "Flight", "fields": [
                  {"name": "carrier", "type": "string"},
                  {"name": "day", "type": {"type": "int", "logicalType": "date"}},
                  {"name": "seen", "type": "long"}]}
                """;
        registry.knows(2, older);
        byte[] bytes = message(2, older, Map.of("carrier", "AA", "day", 1, "seen", 2L), null);
        RowData row = decoder.deserialize(bytes);
        assertTrue(row.isNullAt(ERROR));
        assertEquals("AA", row.getString(0).toString());
        assertEquals(2L, row.getTimestamp(2, 3).getMillisecond());
        assertTrue(row.isNullAt(3));
        assertGood(decoder.deserialize(flight(1, "UA", 5)), "UA", 5);
    }

    @Test
    void aNewerWriterMayReorderAddAndNameFieldsLikeTheEnvelope() throws IOException {
        String newer =
                """
                {"type": "record", "name": "Renamed", "namespace": "other", "fields": [
                  {"name": "error", "type": "int"},
                  {"name": "delay", "type": "int"},
                  {"name": "stops", "type": {"type": "array", "items": "string"}},
                  {"name": "seen", "type": "long"},
                  {"name": "day", "type": "int"},
                  {"name": "carrier", "type": ["null", "string"]},
                  {"name": "payload", "type": "string"}]}
                """;
        registry.knows(2, newer);
        Map<String, Object> fields =
                Map.of(
                        "error", 1, "stops", List.of("EWR", "ORD"), "seen", 2L, "day", 3,
                        "carrier", "AA", "payload", "p");
        byte[] bytes = message(2, newer, fields, 4);
        RowData row = decoder.deserialize(bytes);
        assertGood(row, "AA", 4);
        assertSame(bytes, row.getBinary(PAYLOAD));
    }

    @Test
    void anIncompatibleWriterIsUndecodable() throws IOException {
        String text = FLIGHT.replace("[\"null\", \"int\"], \"default\": null", "\"string\"");
        registry.knows(2, text);
        Map<String, Object> fields = Map.of("carrier", "AA", "day", 1, "seen", 2L, "delay", "late");
        String error = decoder.deserialize(message(2, text, fields, null)).getString(ERROR).toString();
        assertEquals("field delay: written as string, read as null or int (schema id 2)", error);
    }

    @Test
    void anArrayOfGarbageAllocatesNothing() throws Exception {
        String arrays =
                """
                {"type": "record", "name": "R", "fields": [
                  {"name": "stops", "type": {"type": "array", "items": "string"}}]}
                """;
        registry.knows(3, arrays);
        var table =
                DataTypes.ROW(
                                DataTypes.FIELD("stops", DataTypes.ARRAY(DataTypes.STRING())),
                                DataTypes.FIELD("log_value", DataTypes.BYTES()),
                                DataTypes.FIELD("log_error", DataTypes.STRING()))
                        .notNull();
        DeserializationSchema<RowData> lists = open(create(table, registry.url(), "schema", arrays), new SimpleCounter());
        byte[] many = join(header(3), new byte[] {(byte) 0x80, (byte) 0xa8, (byte) 0xd6, (byte) 0xb9, 0x07, 0});
        assertEquals(
                "field stops: a count of 1000000000 items in 11 bytes (schema id 3)",
                lists.deserialize(many).getString(2).toString());
        RowData row = lists.deserialize(message(3, arrays, Map.of("stops", List.of("EWR", "ORD")), null));
        assertEquals("ORD", row.getArray(0).getString(1).toString());
    }

    private static void assertGood(RowData row, String carrier, int delay) {
        assertTrue(row.isNullAt(ERROR), () -> row.getString(ERROR).toString());
        assertEquals(carrier, row.getString(0).toString());
        assertEquals(delay, row.getInt(3));
    }

    private static byte[] with(byte[] bytes, int position, int value) {
        byte[] changed = bytes.clone();
        changed[position] = (byte) value;
        return changed;
    }
}
