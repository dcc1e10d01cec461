package kappa.format;

import static kappa.format.Fixtures.TABLE;
import static kappa.format.Fixtures.create;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.DataTypes.Field;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class TolerantAvroFormatFactoryTest {

    private static final String URL = "http://127.0.0.1:1"; // planning asks nothing of the registry
    private static final Field CARRIER = DataTypes.FIELD("carrier", DataTypes.STRING());
    private static final Field PAYLOAD = DataTypes.FIELD("payload", DataTypes.BYTES());
    private static final Field ERROR = DataTypes.FIELD("error", DataTypes.STRING());

    @Test
    void flinkFindsTheFormatByItsName() {
        assertInstanceOf(
                TolerantAvroFormatFactory.class,
                FactoryUtil.discoverFactory(
                        getClass().getClassLoader(), DeserializationFormatFactory.class, "avro-confluent-tolerant"));
    }

    @Test
    void itProducesTheTablesRowsAsInserts() {
        assertEquals(InternalTypeInfo.of(TABLE.getLogicalType()), create(TABLE, URL).getProducedType());
        Configuration options = new Configuration();
        options.setString("url", URL);
        assertEquals(
                ChangelogMode.insertOnly(),
                new TolerantAvroFormatFactory().createDecodingFormat(null, options).getChangelogMode());
    }

    @Test
    void theRegistryIsRequired() {
        ValidationException e =
                assertThrows(
                        ValidationException.class,
                        () -> new TolerantAvroFormatFactory().createDecodingFormat(null, new Configuration()));
        assertTrue(e.getMessage().contains("url"), e.getMessage());
    }

    @Test
    void payloadAndErrorMustEndTheTable() {
        String expected =
                "A table in the format 'avro-confluent-tolerant' ends with the columns 'payload BYTES, error STRING'. "
                        + "Found: ROW<`carrier` STRING> NOT NULL";
        assertEquals(expected, refusal(CARRIER));
        for (Field[] wrong :
                new Field[][] {
                    {CARRIER, ERROR, PAYLOAD},
                    {PAYLOAD, ERROR, CARRIER},
                    {PAYLOAD, ERROR},
                    {CARRIER, PAYLOAD},
                    {CARRIER, DataTypes.FIELD("payload", DataTypes.STRING()), ERROR},
                    {CARRIER, PAYLOAD, DataTypes.FIELD("error", DataTypes.INT())},
                }) {
            assertTrue(refusal(wrong).contains("ends with the columns"));
        }
    }

    @Test
    void aColumnThatGarbageCannotFillMustBeNullable() {
        assertEquals(
                "Column 'day' is NOT NULL, but a record that cannot be decoded leaves it NULL in the format "
                        + "'avro-confluent-tolerant'. Declare it without NOT NULL.",
                refusal(CARRIER, DataTypes.FIELD("day", DataTypes.DATE().notNull()), PAYLOAD, ERROR));
    }

    @Test
    void timestampsFinerThanAvroReadsThemAreRefused() {
        for (DataType type : new DataType[] {DataTypes.TIMESTAMP_LTZ(6), DataTypes.TIMESTAMP(6)}) {
            assertTrue(refusal(DataTypes.FIELD("t", type), PAYLOAD, ERROR).contains("precision 3 or less"));
        }
    }

    @Test
    void aGivenReaderSchemaMustMatchTheTable() {
        DataType table = DataTypes.ROW(CARRIER, PAYLOAD, ERROR).notNull();
        String schema = "{'type': 'record', 'name': 'R', 'fields': [{'name': 'carrier', 'type': ['null', 'string']}]}";
        create(table, URL, "schema", schema.replace('\'', '"'));
        ValidationException e =
                assertThrows(
                        ValidationException.class,
                        () -> create(table, URL, "schema", schema.replace("string", "int").replace('\'', '"')));
        assertEquals(
                "The option 'schema' of the format 'avro-confluent-tolerant' does not match the table's columns without "
                        + "payload and error: ROW<`carrier` STRING> NOT NULL",
                e.getMessage());
    }

    private static String refusal(Field... fields) {
        DataType table = DataTypes.ROW(fields).notNull();
        return assertThrows(ValidationException.class, () -> create(table, URL)).getMessage();
    }
}
