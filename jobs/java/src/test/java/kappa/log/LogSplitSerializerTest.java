package kappa.log;

import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.from;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.junit.jupiter.api.Test;

class LogSplitSerializerTest {

    private final LogSplitSerializer serializer = new LogSplitSerializer();

    @Test
    void aSplitKeepsItsPositionAndItsClock() throws Exception {
        KafkaPartitionSplit bounded = new KafkaPartitionSplit(ZERO, 7, 20);
        for (KafkaPartitionSplit position : new KafkaPartitionSplit[] {from(ZERO, 7), bounded}) {
            KafkaPartitionSplit read = again(new LogSplit(position, 1_357_000_000_123L));
            assertEquals(position, read);
            assertEquals(1_357_000_000_123L, LogSplit.clockOf(read));
        }
    }

    @Test
    void aFreshSplitHasNoClock() throws Exception {
        KafkaPartitionSplit fresh = from(ZERO, KafkaPartitionSplit.EARLIEST_OFFSET);
        assertEquals(fresh, again(fresh));
        assertEquals(LogSplit.NO_CLOCK, LogSplit.clockOf(again(fresh)));
    }

    @Test
    void aCheckpointOfTheConnectorKafkaIsRead() throws Exception {
        byte[] bytes = new KafkaPartitionSplitSerializer().serialize(from(ZERO, 7));
        KafkaPartitionSplit read = serializer.deserialize(0, bytes);
        assertEquals(from(ZERO, 7), read);
        assertEquals(LogSplit.NO_CLOCK, LogSplit.clockOf(read));
    }

    @Test
    void aLaterVersionIsRefused() throws Exception {
        byte[] bytes = serializer.serialize(from(ZERO, 7));
        IOException e = assertThrows(IOException.class, () -> serializer.deserialize(2, bytes));
        assertEquals("A split of version 2; this connector reads 0 and 1", e.getMessage());
    }

    private KafkaPartitionSplit again(KafkaPartitionSplit split) throws IOException {
        return serializer.deserialize(serializer.getVersion(), serializer.serialize(split));
    }
}
