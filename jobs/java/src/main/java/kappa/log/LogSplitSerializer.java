package kappa.log;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * The connector's own bytes, version 0, behind them the clock and the first offset held: older checkpoints, and those of
 * the connector 'kafka', are readable.
 */
final class LogSplitSerializer implements SimpleVersionedSerializer<KafkaPartitionSplit> {

    private static final int WITHOUT_CLOCK = 0;
    private static final int WITH_CLOCK = 1;
    private static final int WITH_FIRST_HELD = 2;

    private final KafkaPartitionSplitSerializer kafka = new KafkaPartitionSplitSerializer();

    LogSplitSerializer() {
        if (kafka.getVersion() != WITHOUT_CLOCK) {
            throw new IllegalStateException(
                    "The Kafka connector writes its splits in another version than the one this class builds on: "
                            + kafka.getVersion());
        }
    }

    @Override
    public int getVersion() {
        return WITH_FIRST_HELD;
    }

    @Override
    public byte[] serialize(KafkaPartitionSplit split) throws IOException {
        byte[] position = kafka.serialize(split);
        return ByteBuffer.allocate(position.length + 2 * Long.BYTES)
                .put(position)
                .putLong(LogSplit.clockOf(split))
                .putLong(LogSplit.heldFrom(split))
                .array();
    }

    @Override
    public KafkaPartitionSplit deserialize(int version, byte[] serialized) throws IOException {
        return switch (version) {
            case WITHOUT_CLOCK -> kafka.deserialize(WITHOUT_CLOCK, serialized);
            case WITH_CLOCK, WITH_FIRST_HELD -> {
                int end = serialized.length - (version == WITH_CLOCK ? 1 : 2) * Long.BYTES;
                KafkaPartitionSplit position = kafka.deserialize(WITHOUT_CLOCK, Arrays.copyOf(serialized, end));
                ByteBuffer behind = ByteBuffer.wrap(serialized, end, serialized.length - end);
                long clock = behind.getLong();
                yield new LogSplit(position, clock, behind.hasRemaining() ? behind.getLong() : position.getStartingOffset());
            }
            default -> throw new IOException("A split of version " + version + "; this connector reads 0 to 2");
        };
    }
}
