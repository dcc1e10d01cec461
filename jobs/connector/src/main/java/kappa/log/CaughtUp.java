package kappa.log;

import org.apache.flink.api.connector.source.SourceEvent;

/** What a reader tells its enumerator once, when it has come near the ends of all its partitions. */
record CaughtUp() implements SourceEvent {

    private static final long serialVersionUID = 1L;
}
