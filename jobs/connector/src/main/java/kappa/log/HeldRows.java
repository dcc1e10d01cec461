package kappa.log;

import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.table.data.RowData;

/** Rows of one partition that its clock has not passed: by their time and, of one time, in the order of the log. */
final class HeldRows {

    /** A row, where its record stands, and the log's clock there. */
    record Held(RowData row, long offset, long timestamp, long logClock) {}

    private final TreeMap<Long, Map<RowData, Held>> byTime = new TreeMap<>();

    /** Keeps a row, unless one of the same identity and time is kept already. */
    void hold(long time, RowData identity, Held row) {
        byTime.computeIfAbsent(time, t -> new LinkedHashMap<>(4)).putIfAbsent(identity, row);
    }

    /** The rows of the earliest time, no longer held; none when that is later than {@code time}. */
    Collection<Held> releaseUpTo(long time) {
        return byTime.isEmpty() || byTime.firstKey() > time ? List.of() : byTime.pollFirstEntry().getValue().values();
    }

    boolean isEmpty() {
        return byTime.isEmpty();
    }

    /** The first in the log of those that are held; null for none. */
    Held first() {
        return byTime.values().stream()
                .flatMap(rows -> rows.values().stream())
                .min(Comparator.comparingLong(Held::offset))
                .orElse(null);
    }
}
