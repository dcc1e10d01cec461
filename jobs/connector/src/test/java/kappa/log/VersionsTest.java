package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static kappa.log.Fixtures.HOUR;
import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class VersionsTest {

    static final DataType COLUMNS =
            DataTypes.ROW(
                    DataTypes.FIELD("maker", DataTypes.STRING()),
                    DataTypes.FIELD("model", DataTypes.STRING()),
                    DataTypes.FIELD("built", DataTypes.TIMESTAMP_LTZ(3)),
                    DataTypes.FIELD("log_value", DataTypes.BYTES()),
                    DataTypes.FIELD("log_error", DataTypes.STRING()),
                    DataTypes.FIELD("seats", DataTypes.STRING()));

    private static final int[] MAKER = {0};
    private static final int BUILT = 2;
    private static final int RECORD = -1;
    private static final boolean BOUNDED = true;

    @Test
    void keysOfBytesAreEqualByTheirContent() {
        assertEquals(Versions.keyOf(new Object[] {"k".getBytes()}), Versions.keyOf(new Object[] {"k".getBytes()}));
        assertEquals(
                Versions.keyOf(new Object[] {"k".getBytes(), 1}), Versions.keyOf(new Object[] {"k".getBytes(), 1}));
    }

    @Test
    void theLatestOfThatTimeOrBeforeIsValid() throws Exception {
        VersionTable versions =
                ofRecords(record(ZERO, 0, 10, "a,x,,1"), record(ZERO, 1, 20, "a,x,,2"), record(ZERO, 2, 15, "b,x,,3"));
        assertNull(at(versions, 9, "a"));
        assertEquals("1", at(versions, 10, "a"));
        assertEquals("1", at(versions, 19, "a"));
        assertEquals("2", at(versions, 20, "a"));
        assertEquals("2", at(versions, Long.MAX_VALUE, "a"));
        assertEquals("3", at(versions, 20, "b"));
        assertNull(at(versions, 20, "c"));
    }

    @Test
    void ofOneTimeTheLastByPartitionAndOffsetCountsInWhateverOrderTheyWereRead() throws Exception {
        ConsumerRecord<byte[], byte[]> first = record(ZERO, 7, 10, "a,x,,1");
        ConsumerRecord<byte[], byte[]> second = record(ZERO, 8, 10, "a,x,,2");
        ConsumerRecord<byte[], byte[]> third = record(ONE, 0, 10, "a,x,,3");
        assertEquals("3", at(ofRecords(first, second, third), 10, "a"));
        assertEquals("3", at(ofRecords(third, second, first), 10, "a"));
        assertEquals("2", at(ofRecords(second, first), 10, "a"));
    }

    @Test
    void undecodableRecordsAndThoseWithoutAKeyAreLeftOut() throws Exception {
        VersionTable versions =
                ofRecords(record(ZERO, 0, 10, "a,x,,1"), record(ZERO, 1, 20, "a,x,,,bad"), record(ZERO, 2, 30, ",x,,2"));
        assertEquals("1", at(versions, 40, "a"));
        assertEquals(1, versions.size());
    }

    @Test
    void aRecordWithAKeyAndWithoutAValueIsNoVersion() throws Exception {
        VersionTable versions = ofRecords(record(ZERO, 0, 10, "a,x,,1"), record(ZERO, 1, 20, "a,gone,,2"));
        assertEquals("1", at(versions, 40, "a"));
        assertEquals(1, versions.size());
    }

    @Test
    void aKeyMayHaveColumns() throws Exception {
        ConsumerRecord<byte[], byte[]> x = record(ZERO, 0, 10, "a,x,,1");
        VersionTable versions = of(new int[] {0, 1}, RECORD, BOUNDED, x, record(ZERO, 1, 10, "a,y,,2"));
        assertEquals("1", at(versions, 10, "a", "x"));
        assertEquals("2", at(versions, 10, "a", "y"));
        assertNull(at(versions, 10, "x", "a"));
    }

    @Test
    void theTimeMayBeAColumn() throws Exception {
        VersionTable versions =
                of(MAKER, BUILT, BOUNDED, record(ZERO, 0, 90, "a,x,20,1"), record(ZERO, 1, 91, "a,x,10,2"),
                        record(ZERO, 2, 92, "a,x,,3"));
        assertEquals("2", at(versions, 19, "a"));
        assertEquals("1", at(versions, 20, "a"));
        assertEquals(2, versions.size()); // one has no time
    }

    @Test
    void inATopicWithoutEndALateVersionIsLeftOut() throws Exception {
        long now = 10 * HOUR;
        ConsumerRecord<byte[], byte[]> just = record(ZERO, 0, now, "a,x," + (now - HOUR) + ",1");
        ConsumerRecord<byte[], byte[]> late = record(ZERO, 1, now, "a,x," + (now - HOUR - 1) + ",2");
        assertEquals(1, of(MAKER, BUILT, !BOUNDED, just, late).size());
        assertEquals(2, of(MAKER, BUILT, BOUNDED, just, late).size()); // nothing comes after all of it
    }

    @Test
    void theRowHasNeitherTheRecordsBytesNorTheReason() throws Exception {
        RowData row = ofRecords(record(ZERO, 0, 10, "a,x,5,1")).at(StringData.fromString("a"), 10).row();
        assertEquals(4, row.getArity());
        assertEquals("x", row.getString(1).toString());
        assertEquals(5, row.getTimestamp(2, 3).getMillisecond());
    }

    @SafeVarargs
    private static VersionTable ofRecords(ConsumerRecord<byte[], byte[]>... records) throws Exception {
        return of(MAKER, RECORD, BOUNDED, records);
    }

    @SafeVarargs
    private static VersionTable of(int[] key, int time, boolean bounded, ConsumerRecord<byte[], byte[]>... records)
            throws Exception {
        VersionTable table = new VersionTable();
        VersionReader.Decoder decoder = decoder(key, time, bounded);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            decoder.decode(record, record.timestamp(), table);
        }
        return table;
    }

    static VersionReader.Decoder decoder(int[] key, int time, boolean bounded) throws Exception {
        VersionReader.Log log = new VersionReader.Log("log", new Properties(), AN_HOUR, bounded, Map.of(), null);
        return new Versions(log, KeyedRows.of(new Commas()), COLUMNS, key, time).decoder(new UnregisteredMetricsGroup());
    }

    /** The seats of what is valid. */
    private static String at(VersionTable versions, long time, String... key) {
        StringData[] values = Arrays.stream(key).map(StringData::fromString).toArray(StringData[]::new);
        VersionTable.Valid valid = versions.at(values.length == 1 ? values[0] : List.of((Object[]) values), time);
        return valid == null ? null : valid.row().getString(3).toString();
    }

    /** Text of up to five columns, maker, model, built, seats and error; an empty one is NULL. What is gone has no value. */
    private static final class Commas extends AbstractDeserializationSchema<RowData> {

        private static final long serialVersionUID = 1L;

        @Override
        public RowData deserialize(byte[] value) {
            String[] texts = Arrays.copyOf(new String(value).split(","), 5);
            Object[] columns = Arrays.stream(texts).map(Commas::text).toArray();
            Object built = columns[2] == null ? null : TimestampData.fromEpochMillis(Long.parseLong(texts[2]));
            byte[] bytes = "gone".equals(texts[1]) ? null : value;
            return GenericRowData.of(columns[0], columns[1], built, bytes, columns[4], columns[3]);
        }

        private static Object text(String text) {
            return text == null || text.isEmpty() ? null : StringData.fromString(text);
        }
    }
}
