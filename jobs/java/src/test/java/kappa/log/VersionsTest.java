package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class VersionsTest {

    private static final DataType ROW =
            DataTypes.ROW(
                    DataTypes.FIELD("maker", DataTypes.STRING()),
                    DataTypes.FIELD("model", DataTypes.STRING()),
                    DataTypes.FIELD("seats", DataTypes.STRING()),
                    DataTypes.FIELD("error", DataTypes.STRING()));

    @Test
    void theLatestOfThatTimeOrBeforeIsValid() throws Exception {
        Versions versions = of(record(ZERO, 0, 10, "a,x,1"), record(ZERO, 1, 20, "a,x,2"), record(ZERO, 2, 15, "b,x,3"));
        assertEquals(List.of(), at(versions, 9L, "a"));
        assertEquals(List.of("1"), at(versions, 10L, "a"));
        assertEquals(List.of("1"), at(versions, 19L, "a"));
        assertEquals(List.of("2"), at(versions, 20L, "a"));
        assertEquals(List.of("2"), at(versions, Long.MAX_VALUE / 2, "a"));
        assertEquals(List.of("3"), at(versions, 20L, "b"));
    }

    @Test
    void nothingIsValidForAKeyThatIsNotThereOrNull() throws Exception {
        Versions versions = of(record(ZERO, 0, 10, "a,x,1"));
        assertEquals(List.of(), at(versions, 10L, "b"));
        assertEquals(List.of(), at(versions, 10L, (String) null));
        assertEquals(List.of(), at(versions, null, "a"));
    }

    @Test
    void ofOneTimestampTheLastByPartitionAndOffsetCountsInWhateverOrderTheyWereRead() throws Exception {
        ConsumerRecord<byte[], byte[]> first = record(ZERO, 7, 10, "a,x,1");
        ConsumerRecord<byte[], byte[]> second = record(ZERO, 8, 10, "a,x,2");
        ConsumerRecord<byte[], byte[]> third = record(ONE, 0, 10, "a,x,3");
        assertEquals(List.of("3"), at(of(first, second, third), 10L, "a"));
        assertEquals(List.of("3"), at(of(third, second, first), 10L, "a"));
        assertEquals(List.of("2"), at(of(second, first), 10L, "a"));
    }

    @Test
    void undecodableRecordsAndThoseWithoutAKeyAreLeftOut() throws Exception {
        Versions versions = of(record(ZERO, 0, 10, "a,x,1"), record(ZERO, 1, 20, "a,x,,bad"), record(ZERO, 2, 30, ",x,2"));
        assertEquals(List.of("1"), at(versions, 40L, "a"));
    }

    @Test
    void aKeyMayHaveColumns() throws Exception {
        Versions versions = of(new int[] {0, 1}, record(ZERO, 0, 10, "a,x,1"), record(ZERO, 1, 10, "a,y,2"));
        assertEquals(List.of("1"), at(versions, 10L, "a", "x"));
        assertEquals(List.of("2"), at(versions, 10L, "a", "y"));
        assertEquals(List.of(), at(versions, 10L, "x", "a"));
        assertEquals(List.of(), at(versions, 10L, "a", null));
    }

    @SafeVarargs
    private static Versions of(ConsumerRecord<byte[], byte[]>... records) throws Exception {
        return of(new int[] {0}, records);
    }

    @SafeVarargs
    private static Versions of(int[] key, ConsumerRecord<byte[], byte[]>... records) throws Exception {
        Versions versions = new Versions("log", new Properties(), Map.of(), new Commas(), ROW, key, 3);
        versions.hold(List.of(records));
        return versions;
    }

    /** The seats of what is valid. */
    private static List<String> at(Versions versions, Long time, String... key) {
        List<RowData> found = new ArrayList<>();
        versions.setCollector(new ListCollector<>(found));
        Object[] values = new Object[key.length];
        for (int i = 0; i < key.length; i++) {
            values[i] = StringData.fromString(key[i]);
        }
        versions.eval(time == null ? null : TimestampData.fromEpochMillis(time), values);
        return found.stream().map(row -> row.getString(2).toString()).toList();
    }

    /** Text of up to four columns; an empty one is NULL. */
    private static final class Commas extends AbstractDeserializationSchema<RowData> {

        private static final long serialVersionUID = 1L;

        @Override
        public RowData deserialize(byte[] value) {
            String[] texts = new String(value).split(",");
            GenericRowData row = new GenericRowData(4);
            for (int i = 0; i < texts.length; i++) {
                row.setField(i, texts[i].isEmpty() ? null : StringData.fromString(texts[i]));
            }
            return row;
        }
    }
}
