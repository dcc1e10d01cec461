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
    private static final Field PAYLOAD = DataTypes.FIELD("log_value", DataTypes.BYTES());
    private static final Field ERROR = DataTypes.FIELD("log_error", DataTypes.STRING());

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
        options.setString("schema", record(""));
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
    void theEnvelopeMustEndTheTable() {
        String expected =
                "A table in the format 'avro-confluent-tolerant' ends with the columns 'log_value BYTES, log_error STRING'. "
                        + "Found: ROW<`carrier` STRING> NOT NULL";
        assertEquals(expected, refusal(CARRIER));
        for (Field[] wrong :
                new Field[][] {
                    {CARRIER, ERROR, PAYLOAD},
                    {PAYLOAD, ERROR, CARRIER},
                    {PAYLOAD, ERROR},
                    {CARRIER, PAYLOAD},
                    {CARRIER, DataTypes.FIELD("log_value", DataTypes.STRING()), ERROR},
                    {CARRIER, PAYLOAD, DataTypes.FIELD("log_error", DataTypes.INT())},
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
    void theColumnsMustBeTheFieldsOfTheSchema() {
        String schema = record("{'name': 'carrier', 'type': ['null', 'string']}");
        create(DataTypes.ROW(CARRIER, PAYLOAD, ERROR).notNull(), URL, "schema", schema);
        for (Field[] wrong :
                new Field[][] {
                    {DataTypes.FIELD("carier", DataTypes.STRING()), PAYLOAD, ERROR},
                    {DataTypes.FIELD("carrier", DataTypes.INT()), PAYLOAD, ERROR},
                    {CARRIER, DataTypes.FIELD("more", DataTypes.INT()), PAYLOAD, ERROR},
                }) {
            ValidationException e =
                    assertThrows(
                            ValidationException.class,
                            () -> create(DataTypes.ROW(wrong).notNull(), URL, "schema", schema));
            assertTrue(e.getMessage().contains("Expected: ROW<`carrier` STRING> NOT NULL\nFound:    ROW<"), e.getMessage());
        }
    }

    @Test
    void aSchemaThatNoTableCanBeMadeOfIsRefused() {
        for (String[] wrong :
                new String[][] {
                    {"{", "is no Avro schema"},
                    {"'int'", "is a record. Found: int"},
                    {record("{'name': 'r', 'type': ['null', 'R']}"), "contains itself: R"},
                    {
                        record(
                                "{'name': 'd', 'type': {'type': 'bytes', 'logicalType': 'decimal', 'precision': 39}}"),
                        "decimal(39, 0), of more than 38 digits"
                    },
                }) {
            DataType table = DataTypes.ROW(CARRIER, PAYLOAD, ERROR).notNull();
            String schema = wrong[0].replace('\'', '"');
            ValidationException e =
                    assertThrows(ValidationException.class, () -> create(table, URL, "schema", schema));
            assertTrue(e.getMessage().contains(wrong[1]), e.getMessage());
        }
    }

    private static String record(String fields) {
        return "{'type': 'record', 'name': 'R', 'fields': [#]}".replace("#", fields).replace('\'', '"');
    }

    private static String refusal(Field... fields) {
        DataType table = DataTypes.ROW(fields).notNull();
        return assertThrows(ValidationException.class, () -> create(table, URL)).getMessage();
    }
}
