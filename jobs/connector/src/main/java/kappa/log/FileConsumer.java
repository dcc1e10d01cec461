package kappa.log;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.MockConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.PartitionInfo;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Kafka's own consumer of records that it is given: those of files. What is read here is kept in memory anyway. */
final class FileConsumer extends MockConsumer<byte[], byte[]> {

    private final Map<TopicPartition, Path> files;

    FileConsumer(RecordFiles records) {
        super(OffsetResetStrategy.EARLIEST);
        try {
            files = records.partitions();
        } catch (IOException e) {
            throw new UncheckedIOException("The records of " + records.topic() + " cannot be read", e);
        }
        List<PartitionInfo> partitions = new ArrayList<>();
        files.keySet().forEach(of -> partitions.add(new PartitionInfo(of.topic(), of.partition(), null, null, null)));
        updatePartitions(records.topic(), partitions);
    }

    @Override
    public synchronized void assign(Collection<TopicPartition> partitions) {
        super.assign(partitions);
        partitions.forEach(this::fill);
    }

    private void fill(TopicPartition partition) {
        long first = -1;
        long end = 0;
        try (RecordFiles.Reader records = new RecordFiles.Reader(partition, files.get(partition))) {
            while (records.hasNext()) {
                ConsumerRecord<byte[], byte[]> record = records.next();
                first = first < 0 ? record.offset() : first;
                end = record.offset() + 1;
                addRecord(record);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("The records of " + partition + " cannot be read", e);
        }
        updateBeginningOffsets(Map.of(partition, Math.max(first, 0)));
        updateEndOffsets(Map.of(partition, end));
    }
}
