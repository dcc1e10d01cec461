package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import kappa.log.RowDeserializer.Metadata;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.junit.jupiter.api.Test;

class RowDeserializerTest {

    @Test
    void metadataStandsBehindTheValueInTheOrderThatWasAskedFor() throws Exception {
        RowDeserializer rows =
                Fixtures.rows(Metadata.OFFSET, Metadata.TIMESTAMP, Metadata.PARTITION, Metadata.TOPIC);
        assertEquals(
                List.of(
                        GenericRowData.of(
                                StringData.fromString("a"),
                                7L,
                                TimestampData.fromEpochMillis(99),
                                1,
                                StringData.fromString("log"))),
                deserialize(rows, record(ONE, 7, 99, "a")));
    }

    @Test
    void keysHeadersAndTheClockAreMetadataToo() throws Exception {
        ConsumerRecord<byte[], byte[]> record =
                new ConsumerRecord<>(
                        "log", 1, 7, 99, TimestampType.CREATE_TIME, 0, 0, "k".getBytes(), "a".getBytes(),
                        new RecordHeaders().add("h", "1".getBytes()).add("n", null).add("h", "2".getBytes()),
                        Optional.empty());
        RowDeserializer rows = Fixtures.rows(Metadata.KEY, Metadata.HEADERS, Metadata.CLOCK);
        rows.setClock(123);
        GenericRowData row = (GenericRowData) deserialize(rows, record).get(0);
        assertArrayEquals("k".getBytes(), (byte[]) row.getField(1));
        GenericMapData headers = (GenericMapData) row.getField(2);
        assertEquals(2, headers.size());
        assertArrayEquals("2".getBytes(), (byte[]) headers.get(StringData.fromString("h"))); // the last counts
        assertNull(headers.get(StringData.fromString("n")));
        assertEquals(TimestampData.fromEpochMillis(123), row.getField(3));
        assertNull(((GenericRowData) deserialize(rows, record(ONE, 7, 99, "a")).get(0)).getField(1));
    }

    @Test
    void withoutMetadataItIsTheValueAlone() throws Exception {
        List<RowData> rows = deserialize(Fixtures.rows(), record(ONE, 7, 99, "a"));
        assertEquals(List.of(GenericRowData.of(StringData.fromString("a"))), rows);
    }

    private static List<RowData> deserialize(RowDeserializer rows, ConsumerRecord<byte[], byte[]> record)
            throws Exception {
        List<RowData> out = new ArrayList<>();
        rows.deserialize(record, new ListCollector<>(out));
        return out;
    }
}
