package kappa.log;

import static kappa.log.Fixtures.ZERO;
import static kappa.log.Fixtures.from;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.junit.jupiter.api.Test;

class LogSplitSerializerTest {

    private final LogSplitSerializer serializer = new LogSplitSerializer();

    @Test
    void aSplitKeepsItsPositionItsClockAndTheFirstOffsetHeld() throws Exception {
        KafkaPartitionSplit bounded = new KafkaPartitionSplit(ZERO, 7, 20);
        for (KafkaPartitionSplit position : new KafkaPartitionSplit[] {from(ZERO, 7), bounded}) {
            KafkaPartitionSplit read = again(new LogSplit(position, 1_357_000_000_123L, 77, 5));
            assertEquals(position, read);
            assertEquals(1_357_000_000_123L, LogSplit.clockOf(read));
            assertEquals(77, LogSplit.logClockOf(read));
            assertEquals(5, LogSplit.heldFrom(read));
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
    void aCheckpointWithAClockAloneIsRead() throws Exception {
        byte[] position = new KafkaPartitionSplitSerializer().serialize(from(ZERO, 7));
        byte[] bytes = ByteBuffer.allocate(position.length + Long.BYTES).put(position).putLong(1_357_000_000_123L).array();
        KafkaPartitionSplit read = serializer.deserialize(1, bytes);
        assertEquals(1_357_000_000_123L, LogSplit.clockOf(read));
        assertEquals(7, LogSplit.heldFrom(read));
    }

    @Test
    void aCheckpointWithoutTheLogsClockHasItFromTheClock() throws Exception {
        byte[] position = new KafkaPartitionSplitSerializer().serialize(from(ZERO, 7));
        byte[] bytes = ByteBuffer.allocate(position.length + 2 * Long.BYTES).put(position).putLong(99).putLong(5).array();
        KafkaPartitionSplit read = serializer.deserialize(2, bytes);
        assertEquals(from(ZERO, 7), read);
        assertEquals(99, LogSplit.clockOf(read));
        assertEquals(99, LogSplit.logClockOf(read));
        assertEquals(5, LogSplit.heldFrom(read));
    }

    @Test
    void aLaterVersionIsRefused() throws Exception {
        byte[] bytes = serializer.serialize(from(ZERO, 7));
        IOException e = assertThrows(IOException.class, () -> serializer.deserialize(4, bytes));
        assertEquals("A split of version 4; this connector reads 0 to 3", e.getMessage());
    }

    private KafkaPartitionSplit again(KafkaPartitionSplit split) throws IOException {
        return serializer.deserialize(serializer.getVersion(), serializer.serialize(split));
    }
}
