package kappa.log;

import java.util.Collection;
import java.util.Iterator;
import java.util.Set;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;

/** A batch of records, and behind them the partitions whose ends they reach: a clock never overtakes a record. */
final class RecordsThenEnds implements RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> {

    private final RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records;
    private final Iterator<EndOfLog> ends;
    private boolean atEnds;
    private EndOfLog next;

    RecordsThenEnds(RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records, Collection<EndOfLog> ends) {
        this.records = records;
        this.ends = ends.iterator();
    }

    @Override
    public String nextSplit() {
        String split = atEnds ? null : records.nextSplit();
        if (split != null) {
            return split;
        }
        atEnds = true;
        next = ends.hasNext() ? ends.next() : null;
        return next == null ? null : next.splitId();
    }

    @Override
    public ConsumerRecord<byte[], byte[]> nextRecordFromSplit() {
        if (!atEnds) {
            return records.nextRecordFromSplit();
        }
        EndOfLog end = next;
        next = null;
        return end;
    }

    @Override
    public Set<String> finishedSplits() {
        return records.finishedSplits();
    }

    @Override
    public void recycle() {
        records.recycle();
    }
}
