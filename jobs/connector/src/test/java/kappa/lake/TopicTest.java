package kappa.lake;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.Committer;
import org.apache.flink.connector.kafka.sink.KafkaCommittable;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.util.FlinkRuntimeException;
import org.junit.jupiter.api.Test;

class TopicTest {

    private static final Map<String, String> OPTIONS =
            Map.of(
                    "topic.name", "o.r1-a1",
                    "topic.transactional-id-prefix", "kappa-p-r1-a1-o",
                    "topic.source", "/kappa/p/o",
                    "topic.type", "p.o",
                    "topic.key", "id;shop",
                    "topic.time", "at",
                    "topic.properties.bootstrap.servers", "b:1",
                    "warehouse", "w");
    private static final ZoneId TOKYO = ZoneId.of("Asia/Tokyo");

    @Test
    void optionsOfATopicAreNotTheCatalogs() {
        assertEquals(Map.of("warehouse", "w"), TopicOptions.others(OPTIONS));
        assertNull(TopicOptions.of(Map.of("warehouse", "w")));
        TopicOptions found = TopicOptions.of(OPTIONS);
        assertEquals(List.of("id", "shop"), found.key());
        assertEquals("b:1", found.producer().getProperty("bootstrap.servers"));
    }

    @Test
    void anOptionThatIsMissingOrNotKnownIsNamed() {
        Map<String, String> options = new HashMap<>(OPTIONS);
        options.remove("topic.source");
        assertTrue(assertThrows(ValidationException.class, () -> TopicOptions.of(options)).getMessage().contains("topic.source"));
        options.put("topic.sauce", "x");
        assertTrue(assertThrows(ValidationException.class, () -> TopicOptions.of(options)).getMessage().contains("topic.sauce"));
    }

    @Test
    void aRecordHasTheKeyItsColumnsAndAnIdOfItsValue() {
        RowRecords records = records("id INT, `at` DATE, shop VARCHAR(10)");
        GenericRowData row = GenericRowData.of(7, 19_723, StringData.fromString("a"));
        ProducerRecord<byte[], byte[]> found = records.serialize(row, null, null);
        assertEquals("o.r1-a1", found.topic());
        assertArrayEquals("2 fields, the first 7".getBytes(StandardCharsets.UTF_8), found.key());
        assertEquals("2023-12-31T15:00:00Z", header(found, "ce_time"));
        assertEquals("/kappa/p/o", header(found, "ce_source"));
        assertEquals("p.o", header(found, "ce_type"));
        assertEquals(32, header(found, "ce_id").length());
        assertEquals(header(found, "ce_id"), header(records.serialize(row, null, null), "ce_id"));
        row.setField(0, 8);
        assertTrue(!header(found, "ce_id").equals(header(records.serialize(row, null, null), "ce_id")));
    }

    @Test
    void aTimeWithoutZoneIsOnTheProductsClockAndANullIsNone() {
        RowRecords records = records("id INT, `at` TIMESTAMP(3), shop VARCHAR(10)");
        GenericRowData row = GenericRowData.of(7, TimestampData.fromEpochMillis(0), StringData.fromString("a"));
        assertEquals("1969-12-31T15:00:00Z", header(records.serialize(row, null, null), "ce_time"));
        row.setField(1, null);
        assertNull(records.serialize(row, null, null).headers().lastHeader("ce_time"));
    }

    @Test
    void aColumnThatIsNoTimeOrNotThereIsNamed() {
        assertTrue(assertThrows(ValidationException.class, () -> records("id INT, `at` INT, shop INT")).getMessage().contains("Column at"));
        assertTrue(assertThrows(ValidationException.class, () -> records("id INT, `at` DATE")).getMessage().contains("shop"));
    }

    @Test
    void aTransactionThatCannotBeCommittedFailsTheJob() throws Exception {
        Said said = new Said();
        try (LosslessKafkaSink.LosslessCommitter strict = committer(request -> request.signalAlreadyCommitted())) {
            strict.commit(List.of(said));
        }
        assertEquals(List.of("committed"), said.heard);
        try (LosslessKafkaSink.LosslessCommitter strict =
                committer(request -> request.signalFailedWithKnownReason(new IllegalStateException("aborted")))) {
            FlinkRuntimeException e = assertThrows(FlinkRuntimeException.class, () -> strict.commit(List.of(said)));
            assertTrue(e.getMessage().contains("o.r1-a1") && e.getMessage().contains("id-1"));
        }
        assertEquals(List.of("committed"), said.heard);
    }

    private static RowRecords records(String columns) {
        RowType row = (RowType) LogicalTypeParser.parse("ROW<" + columns + ">", TopicTest.class.getClassLoader());
        SerializationSchema<RowData> text =
                found -> (found.getArity() + " fields, the first " + found.getInt(0)).getBytes(StandardCharsets.UTF_8);
        return new RowRecords(TopicOptions.of(OPTIONS), row, text, text, "application/json", TOKYO);
    }

    private static String header(ProducerRecord<byte[], byte[]> record, String name) {
        Header found = record.headers().lastHeader(name);
        return new String(found.value(), StandardCharsets.UTF_8);
    }

    private static LosslessKafkaSink.LosslessCommitter committer(
            java.util.function.Consumer<Committer.CommitRequest<KafkaCommittable>> answer) {
        return new LosslessKafkaSink.LosslessCommitter(
                new Committer<>() {
                    @Override
                    public void commit(Collection<CommitRequest<KafkaCommittable>> requests) {
                        requests.forEach(answer);
                    }

                    @Override
                    public void close() {}
                },
                "o.r1-a1");
    }

    /** A request that remembers what it was told. */
    private static final class Said implements Committer.CommitRequest<KafkaCommittable> {

        private final List<String> heard = new ArrayList<>();

        @Override
        public KafkaCommittable getCommittable() {
            return new KafkaCommittable(1, (short) 1, "id-1", null);
        }

        @Override
        public int getNumberOfRetries() {
            return 0;
        }

        @Override
        public void signalFailedWithKnownReason(Throwable reason) {
            heard.add("failed");
        }

        @Override
        public void signalFailedWithUnknownReason(Throwable reason) {
            heard.add("unknown");
        }

        @Override
        public void retryLater() {
            heard.add("later");
        }

        @Override
        public void updateAndRetryLater(KafkaCommittable committable) {
            heard.add("updated");
        }

        @Override
        public void signalAlreadyCommitted() {
            heard.add("committed");
        }
    }
}
