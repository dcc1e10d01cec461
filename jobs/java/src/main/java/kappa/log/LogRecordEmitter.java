package kappa.log;

import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.connector.kafka.source.reader.KafkaRecordEmitter;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.RowData;

/** Emits a record's rows and moves its partition's clock; at the end of a partition, a watermark alone. */
final class LogRecordEmitter extends KafkaRecordEmitter<RowData> {

    private final LogClock clock;

    LogRecordEmitter(KafkaRecordDeserializationSchema<RowData> rows, LogClock clock) {
        super(rows);
        this.clock = clock;
    }

    @Override
    public void emitRecord(
            ConsumerRecord<byte[], byte[]> record, SourceOutput<RowData> output, KafkaPartitionSplitState state)
            throws Exception {
        if (record instanceof EndOfLog end) {
            // Not kept in the state: it is no property of the log, and the next end is seen right after a restart.
            output.emitWatermark(clock.atEnd(end.askedAt()));
            return;
        }
        super.emitRecord(record, output, state);
        ((LogSplitState) state).advance(record.timestamp());
    }
}
