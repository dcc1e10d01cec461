package kappa.log;

import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import org.apache.flink.api.common.serialization.DeserializationSchema.InitializationContext;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.metrics.KafkaSourceReaderMetrics;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.UserCodeClassLoader;

/** A KafkaSource whose partitions keep their clocks and tell where they stand; Kafka's own enumerator assigns them. */
final class LogSource
        implements Source<RowData, KafkaPartitionSplit, KafkaSourceEnumState>, ResultTypeQueryable<RowData> {

    private static final long serialVersionUID = 1L;

    private final KafkaSource<RowData> kafka;
    private final RowDeserializer rows;
    private final Properties consumer;
    private final LogClock clock;
    private final boolean watermarks;
    private final Once once;
    private final Map<TopicPartition, Long> bounds;
    private final String checkpoints;
    private final RecordFiles files;

    /**
     * @param consumer whole, as KafkaSourceBuilder would complete it
     * @param watermarks whether the table has any
     * @param once null for records as they come
     * @param bounds where the partitions of a source that ends, end
     * @param checkpoints where the job's checkpoints are, and their positions go; null for no positions
     * @param files what is read instead of Kafka, to the end; null for Kafka
     */
    LogSource(
            KafkaSource<RowData> kafka,
            RowDeserializer rows,
            Properties consumer,
            LogClock clock,
            boolean watermarks,
            Once once,
            Map<TopicPartition, Long> bounds,
            String checkpoints,
            RecordFiles files) {
        this.kafka = kafka;
        this.rows = rows;
        this.consumer = consumer;
        this.clock = clock;
        this.watermarks = watermarks;
        this.once = once;
        this.bounds = new HashMap<>(bounds);
        this.checkpoints = checkpoints;
        this.files = files;
    }

    @Override
    public Boundedness getBoundedness() {
        return files == null ? kafka.getBoundedness() : Boundedness.BOUNDED;
    }

    @Override
    public SourceReader<RowData, KafkaPartitionSplit> createReader(SourceReaderContext context) throws Exception {
        FlinkPatches.require();
        rows.open(
                new InitializationContext() {
                    @Override
                    public MetricGroup getMetricGroup() {
                        return context.metricGroup().addGroup("deserializer");
                    }

                    @Override
                    public UserCodeClassLoader getUserCodeClassLoader() {
                        return context.getUserCodeClassLoader();
                    }
                });
        KafkaSourceReaderMetrics metrics = new KafkaSourceReaderMetrics(context.metricGroup());
        AtomicBoolean caughtUp = new AtomicBoolean();
        Supplier<SplitReader<ConsumerRecord<byte[], byte[]>, KafkaPartitionSplit>> splitReader =
                () -> {
                    if (files != null) {
                        return new FileSplitReader(files);
                    }
                    return clock.brokerDatesRecords()
                            ? new EndSeeingSplitReader(consumer, context, metrics, caughtUp)
                            : new LogSplitReader(consumer, context, metrics, caughtUp);
                };
        Configuration configuration = new Configuration();
        consumer.stringPropertyNames().forEach(key -> configuration.setString(key, consumer.getProperty(key)));
        return new LogSourceReader(
                new LogFetcherManager(splitReader),
                once == null
                        ? new LogRecordEmitter(rows, clock)
                        : new OnceEmitter(rows, clock, once, once.ofEvents(once.time(context.metricGroup()))),
                configuration,
                context,
                metrics,
                clock,
                watermarks,
                caughtUp);
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> createEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context) {
        DiscoveryContext discovery = discovery(context);
        SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> enumerator =
                files == null
                        ? kafka.createEnumerator(discovery == null ? context : discovery)
                        : new FileEnumerator(discovery, files, bounds);
        return of(enumerator, context, discovery);
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> restoreEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context, KafkaSourceEnumState checkpoint) throws Exception {
        DiscoveryContext discovery = discovery(context);
        return of(kafka.restoreEnumerator(discovery == null ? context : discovery, checkpoint), context, discovery);
    }

    /** Null for a source without an end. */
    private DiscoveryContext discovery(SplitEnumeratorContext<KafkaPartitionSplit> context) {
        return getBoundedness() == Boundedness.BOUNDED ? new DiscoveryContext(context) : null;
    }

    private LogEnumerator of(
            SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> enumerator,
            SplitEnumeratorContext<KafkaPartitionSplit> context,
            DiscoveryContext discovery) {
        return new LogEnumerator(enumerator, context, discovery, bounds, positions(context));
    }

    private PositionFiles positions(SplitEnumeratorContext<KafkaPartitionSplit> context) {
        Map<String, String> names = context.metricGroup().getAllVariables();
        String job = names.get("<job_id>");
        String operator = names.get("<operator_id>");
        return checkpoints == null || job == null || operator == null
                ? null
                : new PositionFiles(checkpoints, job, operator);
    }

    @Override
    public SimpleVersionedSerializer<KafkaPartitionSplit> getSplitSerializer() {
        return new LogSplitSerializer();
    }

    @Override
    public SimpleVersionedSerializer<KafkaSourceEnumState> getEnumeratorCheckpointSerializer() {
        return kafka.getEnumeratorCheckpointSerializer();
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return rows.getProducedType();
    }
}
