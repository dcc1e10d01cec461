package kappa.log;

import java.util.Map;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** What a reader tells its enumerator of each checkpoint: where it stands in those of its partitions that go on. */
record Positions(long checkpoint, Map<TopicPartition, Stand> stands) implements SourceEvent {

    private static final long serialVersionUID = 1L;
}
