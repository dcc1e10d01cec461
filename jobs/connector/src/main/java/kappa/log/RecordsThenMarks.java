package kappa.log;

import java.util.Collection;
import java.util.Iterator;
import java.util.Set;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;

/** A batch of records, and behind them what is true once they are emitted: no mark overtakes a record. */
final class RecordsThenMarks implements RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> {

    private final RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records;
    private final Iterator<? extends Mark> marks;
    private boolean atMarks;
    private Mark next;

    RecordsThenMarks(
            RecordsWithSplitIds<ConsumerRecord<byte[], byte[]>> records, Collection<? extends Mark> marks) {
        this.records = records;
        this.marks = marks.iterator();
    }

    @Override
    public String nextSplit() {
        String split = atMarks ? null : records.nextSplit();
        if (split != null) {
            return split;
        }
        atMarks = true;
        next = marks.hasNext() ? marks.next() : null;
        return next == null ? null : next.splitId();
    }

    @Override
    public ConsumerRecord<byte[], byte[]> nextRecordFromSplit() {
        if (!atMarks) {
            return records.nextRecordFromSplit();
        }
        Mark mark = next;
        next = null;
        return mark;
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
