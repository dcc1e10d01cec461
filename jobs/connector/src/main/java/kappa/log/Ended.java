package kappa.log;

import org.apache.flink.api.connector.source.SourceEvent;

/**
 * What a reader tells its enumerator once, when it has read all its partitions to their bounds.
 *
 * @param after the last checkpoint that it took part in before
 */
record Ended(long after) implements SourceEvent {

    private static final long serialVersionUID = 1L;
}
