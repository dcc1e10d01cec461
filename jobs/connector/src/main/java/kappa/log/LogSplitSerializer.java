package kappa.log;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * The connector's own bytes, version 0, behind them what a {@link LogSplit} adds: the clock (from version 1 on), the first
 * offset held (2), the log's clock (3). Older checkpoints, and those of the connector 'kafka', are readable.
 */
final class LogSplitSerializer implements SimpleVersionedSerializer<KafkaPartitionSplit> {

    private static final int WITHOUT_CLOCK = 0;
    private static final int WITH_CLOCK = 1;
    private static final int WITH_FIRST_HELD = 2;
    private static final int WITH_LOG_CLOCK = 3;

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
        return WITH_LOG_CLOCK;
    }

    @Override
    public byte[] serialize(KafkaPartitionSplit split) throws IOException {
        byte[] position = kafka.serialize(split);
        return ByteBuffer.allocate(position.length + WITH_LOG_CLOCK * Long.BYTES)
                .put(position)
                .putLong(LogSplit.clockOf(split))
                .putLong(LogSplit.heldFrom(split))
                .putLong(LogSplit.logClockOf(split))
                .array();
    }

    @Override
    public KafkaPartitionSplit deserialize(int version, byte[] serialized) throws IOException {
        return switch (version) {
            case WITHOUT_CLOCK -> kafka.deserialize(WITHOUT_CLOCK, serialized);
            case WITH_CLOCK, WITH_FIRST_HELD, WITH_LOG_CLOCK -> {
                int end = serialized.length - version * Long.BYTES; // each version added a number
                KafkaPartitionSplit position = kafka.deserialize(WITHOUT_CLOCK, Arrays.copyOf(serialized, end));
                ByteBuffer behind = ByteBuffer.wrap(serialized, end, serialized.length - end);
                long clock = behind.getLong();
                long heldFrom = behind.hasRemaining() ? behind.getLong() : position.getStartingOffset();
                long logClock = behind.hasRemaining() ? behind.getLong() : clock;
                yield new LogSplit(position, clock, logClock, heldFrom);
            }
            default -> throw new IOException("A split of version " + version + "; this connector reads 0 to 3");
        };
    }
}
