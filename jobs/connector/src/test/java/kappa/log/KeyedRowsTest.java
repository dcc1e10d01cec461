package kappa.log;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import kappa.format.RawFormatFactory;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;
import org.junit.jupiter.api.Test;

class KeyedRowsTest {

    private static final DataType VALUE =
            DataTypes.ROW(
                    DataTypes.FIELD("payload", DataTypes.STRING()),
                    DataTypes.FIELD("log_value", DataTypes.BYTES()),
                    DataTypes.FIELD("log_error", DataTypes.STRING()));
    private static final DataType KEY = DataTypes.ROW(DataTypes.FIELD("id", DataTypes.BIGINT()));
    private static final byte[] SEVEN = ByteBuffer.allocate(8).putLong(7).array();
    private static final byte[] BAD = {(byte) 0xff};

    @Test
    void columnsOfTheKeyStandBehindThoseOfTheValue() throws Exception {
        GenericRowData row = only(SEVEN, "a".getBytes());
        assertEquals(StringData.fromString("a"), row.getField(0));
        assertArrayEquals("a".getBytes(), (byte[]) row.getField(1));
        assertNull(row.getField(2));
        assertEquals(7L, row.getField(3));
    }

    @Test
    void aRecordWithoutAKeyHasColumnsThatAreNull() throws Exception {
        GenericRowData row = only(null, "a".getBytes());
        assertEquals(StringData.fromString("a"), row.getField(0));
        assertNull(row.getField(3));
        assertNull(row.getField(2));
    }

    @Test
    void aKeyThatCannotBeDecodedRejectsTheRecord() throws Exception {
        GenericRowData row = only("12".getBytes(), "a".getBytes());
        assertNull(row.getField(0));
        assertArrayEquals("a".getBytes(), (byte[]) row.getField(1));
        assertEquals("key: 2 bytes, not 8", row.getField(2).toString());
        assertNull(row.getField(3));
    }

    @Test
    void ofAValueThatCannotBeDecodedEitherTheReasonIsTheValues() throws Exception {
        assertEquals("the value is not UTF-8", only("12".getBytes(), BAD).getField(2).toString());
        assertEquals("the value is not UTF-8", only(SEVEN, BAD).getField(2).toString());
        assertEquals(7L, only(SEVEN, BAD).getField(3));
    }

    @Test
    void aTombstoneIsNoRejectWhateverItsKey() throws Exception {
        assertEquals(7L, only(SEVEN, null).getField(3));
        assertNull(only("12".getBytes(), null).getField(2));
    }

    private static GenericRowData only(byte[] key, byte[] value) throws Exception {
        KeyedRows rows = new KeyedRows(decoder(VALUE, false), decoder(KEY, true), 1);
        rows.open(
                new DeserializationSchema.InitializationContext() {
                    @Override
                    public MetricGroup getMetricGroup() {
                        return new UnregisteredMetricsGroup();
                    }

                    @Override
                    public UserCodeClassLoader getUserCodeClassLoader() {
                        return SimpleUserCodeClassLoader.create(KeyedRowsTest.class.getClassLoader());
                    }
                });
        List<RowData> found = new ArrayList<>();
        rows.deserialize(new ConsumerRecord<>("log", 0, 0, key, value), new ListCollector<>(found));
        assertEquals(1, found.size());
        return (GenericRowData) found.get(0);
    }

    private static DeserializationSchema<RowData> decoder(DataType columns, boolean isKey) {
        return new RawFormatFactory()
                .createDecodingFormat(null, Configuration.fromMap(Map.of("of-key", String.valueOf(isKey))))
                .createRuntimeDecoder(ScanRuntimeProviderContext.INSTANCE, columns);
    }
}
