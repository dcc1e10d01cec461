package kappa.log;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/** The connector's own bytes, version 0, and behind them the clock: a checkpoint of the connector 'kafka' is readable. */
final class LogSplitSerializer implements SimpleVersionedSerializer<KafkaPartitionSplit> {

    private static final int WITHOUT_CLOCK = 0;
    private static final int WITH_CLOCK = 1;

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
        return WITH_CLOCK;
    }

    @Override
    public byte[] serialize(KafkaPartitionSplit split) throws IOException {
        byte[] position = kafka.serialize(split);
        return ByteBuffer.allocate(position.length + Long.BYTES)
                .put(position)
                .putLong(LogSplit.clockOf(split))
                .array();
    }

    @Override
    public KafkaPartitionSplit deserialize(int version, byte[] serialized) throws IOException {
        return switch (version) {
            case WITHOUT_CLOCK -> kafka.deserialize(WITHOUT_CLOCK, serialized);
            case WITH_CLOCK -> {
                int end = serialized.length - Long.BYTES;
                KafkaPartitionSplit position = kafka.deserialize(WITHOUT_CLOCK, Arrays.copyOf(serialized, end));
                yield new LogSplit(position, ByteBuffer.wrap(serialized, end, Long.BYTES).getLong());
            }
            default -> throw new IOException("A split of version " + version + "; this connector reads 0 and 1");
        };
    }
}
