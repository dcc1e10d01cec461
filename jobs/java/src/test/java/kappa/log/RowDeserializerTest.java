package kappa.log;

import static kappa.log.Fixtures.ONE;
import static kappa.log.Fixtures.record;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import kappa.log.RowDeserializer.Metadata;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
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
