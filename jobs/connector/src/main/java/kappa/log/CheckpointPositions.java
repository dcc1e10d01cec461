package kappa.log;

import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/**
 * Puts the positions of a source's checkpoints together from what its readers say.
 *
 * <p>The position of a checkpoint is whole when the checkpoint is complete and every reader that took part has said where
 * it stood: in whichever order that becomes known.
 */
final class CheckpointPositions {

    private final Map<TopicPartition, Long> bounds;
    private final boolean bounded;
    private final TreeMap<Long, Pending> pending = new TreeMap<>();
    private final Map<Integer, Long> ended = new HashMap<>();

    /** What is known of a checkpoint that has begun. */
    private static final class Pending {

        private final Map<Integer, Positions> told = new HashMap<>();
        private Set<TopicPartition> known;
        private Set<TopicPartition> unassigned;
        private boolean complete;
    }

    /** @param bounds where the partitions of a source that ends, end; of those not named here it is not known */
    CheckpointPositions(boolean bounded, Map<TopicPartition, Long> bounds) {
        this.bounded = bounded;
        this.bounds = bounds;
    }

    void begin(long checkpoint, KafkaSourceEnumState state) {
        Pending begun = of(checkpoint);
        begun.known = state.assignedPartitions();
        begun.unassigned = state.unassignedInitialPartitions();
    }

    void tell(int reader, Positions positions) {
        of(positions.checkpoint()).told.put(reader, positions);
    }

    void end(int reader, Ended end) {
        ended.put(reader, end.after());
    }

    /** A reader that begins again after a failure has partitions again. */
    void restart(int reader) {
        ended.remove(reader);
    }

    void complete(long checkpoint) {
        of(checkpoint).complete = true;
    }

    void abort(long checkpoint) {
        pending.remove(checkpoint);
    }

    private Pending of(long checkpoint) {
        return pending.computeIfAbsent(checkpoint, c -> new Pending());
    }

    /**
     * The positions that have become whole, by checkpoint. Each is given once, and what is older is forgotten.
     *
     * @param readers those that run, or have ended since they were last started
     */
    Map<Long, Map<TopicPartition, Stand>> whole(Collection<Integer> readers) {
        TreeMap<Long, Map<TopicPartition, Stand>> whole = new TreeMap<>();
        pending.forEach(
                (checkpoint, one) -> {
                    Map<TopicPartition, Stand> stands = stands(checkpoint, one, readers);
                    if (stands != null) {
                        whole.put(checkpoint, stands);
                    }
                });
        if (!whole.isEmpty()) {
            pending.headMap(whole.lastKey(), true).clear();
        }
        return whole;
    }

    /** Null while something is missing. */
    private Map<TopicPartition, Stand> stands(long checkpoint, Pending one, Collection<Integer> readers) {
        if (!one.complete || one.known == null || !one.told.keySet().containsAll(awaited(checkpoint, readers))) {
            return null;
        }
        Map<TopicPartition, Stand> stands = new HashMap<>();
        one.told.values().forEach(positions -> stands.putAll(positions.stands()));
        one.unassigned.forEach(partition -> stands.putIfAbsent(partition, new Stand(0, 0)));
        Set<TopicPartition> untold = new LinkedHashSet<>(one.known);
        untold.removeAll(stands.keySet());
        for (TopicPartition partition : untold) {
            if (!bounded) {
                return null; // the reader that has it did not say so: nothing is claimed
            }
            // Nobody reads it any more, so it was read to its bound: before the job was restored, or by a reader since.
            Long bound = bounds.get(partition);
            if (bound != null) {
                stands.put(partition, new Stand(bound, bound));
            }
        }
        return stands;
    }

    private Set<Integer> awaited(long checkpoint, Collection<Integer> readers) {
        Set<Integer> awaited = new HashSet<>(readers);
        awaited.removeIf(reader -> ended.getOrDefault(reader, Long.MAX_VALUE) < checkpoint);
        return awaited;
    }
}
