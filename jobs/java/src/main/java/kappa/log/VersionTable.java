package kappa.log;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.flink.table.data.RowData;

/** Rows by key and time. One thread puts and forgets, others look up. */
final class VersionTable {

    private record Version(RowData row, int partition, long offset) {

        /** Of two versions of one time, the one later in the log. */
        Version later(Version other) {
            boolean isLater = partition != other.partition ? partition > other.partition : offset > other.offset;
            return isLater ? this : other;
        }
    }

    private final Map<Object, ConcurrentNavigableMap<Long, Version>> versions = new ConcurrentHashMap<>();
    private volatile long heldFrom = Long.MIN_VALUE;
    private int size;

    /** Adds what is valid for a key from a time on; neither key nor row changes any more. */
    void put(Object key, long time, RowData row, int partition, long offset) {
        Version version = new Version(row, partition, offset);
        Version merged =
                versions.computeIfAbsent(key, k -> new ConcurrentSkipListMap<>()).merge(time, version, Version::later);
        if (merged == version) {
            size++;
        }
    }

    /** What is valid for a key at a time, null for nothing; look whether it is still {@link #holds held} afterwards. */
    RowData at(Object key, long time) {
        ConcurrentNavigableMap<Long, Version> all = versions.get(key);
        Map.Entry<Long, Version> valid = all == null ? null : all.floorEntry(time);
        return valid == null ? null : valid.getValue().row;
    }

    /** Whether what is valid at that time has not been forgotten. */
    boolean holds(long time) {
        return time >= heldFrom;
    }

    /** How many versions were put and not forgotten, about: one that was replaced counts again. */
    int size() {
        return size;
    }

    /** Drops what is not valid any more at that time. */
    void forgetBefore(long time) {
        if (time <= heldFrom) {
            return;
        }
        heldFrom = time; // before anything is gone: whoever has looked up looks at this afterwards
        for (ConcurrentNavigableMap<Long, Version> all : versions.values()) {
            Long valid = all.floorKey(time);
            while (valid != null && all.firstKey() < valid) {
                all.pollFirstEntry();
                size--;
            }
        }
    }

    /** Everything that was forgotten has been put again. */
    void holdsAll() {
        heldFrom = Long.MIN_VALUE;
    }
}
