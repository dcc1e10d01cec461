package kappa.log;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.CatalogTable;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.ObjectIdentifier;
import org.apache.flink.table.catalog.ResolvedCatalogTable;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class LogTableFactoryTest {

    private static final ResolvedSchema COLUMNS =
            ResolvedSchema.of(
                    Column.physical("a", DataTypes.STRING()),
                    Column.physical("log_value", DataTypes.BYTES()),
                    Column.physical("log_error", DataTypes.STRING()));

    @Test
    void itIsFoundByItsNameAndReadsWithoutEnd() {
        DynamicTableSource source = source(Map.of());
        assertInstanceOf(LogTableSource.class, source);
        assertEquals(false, bounded(source));
        assertEquals(
                Set.of("topic", "partition", "offset", "timestamp", "key", "headers", "clock"),
                ((LogTableSource) source).listReadableMetadata().keySet());
    }

    @Test
    void itReadsUpToGivenOffsetsAsKafkaDoes() {
        assertTrue(
                bounded(
                        source(
                                Map.of(
                                        "scan.bounded.mode",
                                        "specific-offsets",
                                        "scan.bounded.specific-offsets",
                                        "partition:0,offset:7"))));
    }

    @Test
    void aCopyIsEqualAndAnotherClockIsNot() {
        DynamicTableSource source = source(Map.of());
        assertEquals(source, source.copy());
        assertEquals(source.hashCode(), source.copy().hashCode());
        for (Map<String, String> other :
                List.of(
                        Map.of("allowed-lateness", "2h"),
                        Map.of("broker-time", "true"),
                        Map.of("once", "a"),
                        Map.of("max-ahead", "1d"))) {
            assertNotEquals(source, source(other));
        }
        Map<String, String> wide = Map.of("broker-time", "true", "broker-time.margin", "2min");
        assertNotEquals(source(Map.of("broker-time", "true")), source(wide));
    }

    @Test
    void theLatenessIsRequired() {
        Map<String, String> options = new HashMap<>(options());
        options.remove("allowed-lateness");
        assertTrue(refusal(options).contains("allowed-lateness"));
    }

    @Test
    void columnsOfTheKeyStandBehindThoseOfTheValue() {
        Map<String, String> options = new HashMap<>(options());
        options.put("key.format", "raw");
        options.put("key.fields", "a");
        options.put("value.fields-include", "EXCEPT_KEY");
        options.put("value.format", options.remove("format"));
        for (String option : List.of("url", "schema")) {
            options.put(
                    "value.avro-confluent-tolerant." + option, options.remove("avro-confluent-tolerant." + option));
        }
        assertEquals(
                "In a table of the connector 'kappa-log' the columns of 'key.fields' stand behind all others, in their order, "
                        + "with 'value.fields-include' = 'EXCEPT_KEY'. Found: [0]",
                refusal(options));
    }

    @Test
    void metadataThatTheConnectorKafkaHasNotIsProduced() {
        LogTableSource source = (LogTableSource) source(Map.of());
        DataType row =
                DataTypes.ROW(
                        DataTypes.FIELD("a", DataTypes.STRING()),
                        DataTypes.FIELD("log_value", DataTypes.BYTES()),
                        DataTypes.FIELD("log_error", DataTypes.STRING()),
                        DataTypes.FIELD("k", DataTypes.BYTES()),
                        DataTypes.FIELD("c", DataTypes.TIMESTAMP_LTZ(3)));
        source.applyReadableMetadata(List.of("key", "clock"), row);
        assertEquals(false, bounded(source));
        assertEquals(source, source.copy());
        assertNotEquals(source, source(Map.of()));
    }

    @Test
    void versionsAreOfOneTopicByItsColumns() {
        LogTableSource table = (LogTableSource) source(Map.of());
        assertEquals("log", table.versions(List.of("a"), null).topic());
        assertThrows(ValidationException.class, () -> table.versions(List.of(), null));
        assertThrows(ValidationException.class, () -> table.versions(List.of("b"), null));
        LogTableSource two = (LogTableSource) source(Map.of("topic", "log;other"));
        assertThrows(ValidationException.class, () -> two.versions(List.of("a"), null));
    }

    private static Map<String, String> options() {
        return Map.of(
                "connector", "kappa-log",
                "topic", "log",
                "properties.bootstrap.servers", "127.0.0.1:9",
                "properties.group.id", "readers",
                "scan.startup.mode", "earliest-offset",
                "format", "avro-confluent-tolerant",
                "avro-confluent-tolerant.url", "http://127.0.0.1:9",
                "avro-confluent-tolerant.schema",
                        "{\"type\": \"record\", \"name\": \"R\", \"fields\": [{\"name\": \"a\", \"type\": \"string\"}]}",
                "allowed-lateness", "1h");
    }

    private static boolean bounded(DynamicTableSource source) {
        return ((ScanTableSource) source).getScanRuntimeProvider(ScanRuntimeProviderContext.INSTANCE).isBounded();
    }

    private static String refusal(Map<String, String> options) {
        ValidationException e = assertThrows(ValidationException.class, () -> create(options));
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getMessage();
    }

    private static DynamicTableSource source(Map<String, String> more) {
        Map<String, String> options = new HashMap<>(options());
        options.putAll(more);
        return create(options);
    }

    private static DynamicTableSource create(Map<String, String> options) {
        CatalogTable table =
                CatalogTable.newBuilder()
                        .schema(Schema.newBuilder().fromResolvedSchema(COLUMNS).build())
                        .options(options)
                        .build();
        return FactoryUtil.createDynamicTableSource(
                null,
                ObjectIdentifier.of("default_catalog", "default_database", "log"),
                new ResolvedCatalogTable(table, COLUMNS),
                Map.of(),
                new Configuration(),
                LogTableFactoryTest.class.getClassLoader(),
                false);
    }
}
