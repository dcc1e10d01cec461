package kappa.log;

import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.connector.kafka.source.reader.KafkaRecordEmitter;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitState;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.table.data.RowData;

/** Emits a record's rows and moves its partition's clock; at the end of a partition, a watermark alone. */
final class LogRecordEmitter extends KafkaRecordEmitter<RowData> {

    private final RowDeserializer rows;
    private final LogClock clock;

    LogRecordEmitter(RowDeserializer rows, LogClock clock) {
        super(rows);
        this.rows = rows;
        this.clock = clock;
    }

    @Override
    public void emitRecord(
            ConsumerRecord<byte[], byte[]> record, SourceOutput<RowData> output, KafkaPartitionSplitState state)
            throws Exception {
        if (record instanceof Passed) {
            state.setCurrentOffset(record.offset());
        } else if (record instanceof EndOfLog end) {
            // Not kept in the state: it is no property of the log, and the next end is seen right after a restart.
            output.emitWatermark(clock.emittedAfter(clock.timestampAtEnd(end.askedAt())));
        } else {
            LogSplitState partition = (LogSplitState) state;
            partition.advance(record.timestamp());
            rows.setClock(partition.logClock());
            super.emitRecord(record, output, state);
        }
    }
}
