package kappa.log;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.flink.table.data.GenericRowData;

/** Rows by key and time. One thread puts and forgets, others look up. */
final class VersionTable {

    private record Version(GenericRowData row, int partition, long offset) {

        /** Of two versions of one time, the one later in the log. */
        Version later(Version other) {
            boolean isLater = partition != other.partition ? partition > other.partition : offset > other.offset;
            return isLater ? this : other;
        }
    }

    /** All versions of a key; the key is one that does not change. */
    private record OfKey(Object key, ConcurrentNavigableMap<Long, Version> byTime) {

        OfKey(Object key) {
            this(key, new ConcurrentSkipListMap<>());
        }
    }

    /** What is valid for a key from a time on until before another; to say until when takes what is still to come. */
    record Valid(Object key, GenericRowData row, long from, long until) {

        boolean isAt(long time) {
            return from <= time && time < until;
        }
    }

    private final Map<Object, OfKey> versions = new ConcurrentHashMap<>();
    private volatile long heldFrom = Long.MIN_VALUE;
    private int size;

    /** Adds what is valid for a key from a time on; neither key nor row changes any more. */
    void put(Object key, long time, GenericRowData row, int partition, long offset) {
        Version version = new Version(row, partition, offset);
        Version merged = versions.computeIfAbsent(key, OfKey::new).byTime.merge(time, version, Version::later);
        if (merged == version) {
            size++;
        }
    }

    /** What is valid for a key at a time, null for nothing; look whether it is still {@link #holds held} afterwards. */
    Valid at(Object key, long time) {
        OfKey all = versions.get(key);
        Map.Entry<Long, Version> valid = all == null ? null : all.byTime.floorEntry(time);
        if (valid == null) {
            return null;
        }
        Long next = all.byTime.higherKey(time);
        return new Valid(all.key, valid.getValue().row, valid.getKey(), next == null ? Long.MAX_VALUE : next);
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
        for (OfKey of : versions.values()) {
            ConcurrentNavigableMap<Long, Version> all = of.byTime;
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
