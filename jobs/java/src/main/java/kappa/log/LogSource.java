package kappa.log;

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
import org.apache.flink.connector.kafka.source.reader.PositionedSplitReader;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.UserCodeClassLoader;

/** A KafkaSource whose partitions keep their clocks; Kafka's own enumerator finds and assigns them. */
final class LogSource
        implements Source<RowData, KafkaPartitionSplit, KafkaSourceEnumState>, ResultTypeQueryable<RowData> {

    private static final long serialVersionUID = 1L;

    private final KafkaSource<RowData> kafka;
    private final KafkaRecordDeserializationSchema<RowData> rows;
    private final Properties consumer;
    private final LogClock clock;
    private final Once once;

    /**
     * @param consumer whole, as KafkaSourceBuilder would complete it
     * @param once null for records as they come
     */
    LogSource(
            KafkaSource<RowData> kafka,
            KafkaRecordDeserializationSchema<RowData> rows,
            Properties consumer,
            LogClock clock,
            Once once) {
        this.kafka = kafka;
        this.rows = rows;
        this.consumer = consumer;
        this.clock = clock;
        this.once = once;
    }

    @Override
    public Boundedness getBoundedness() {
        return kafka.getBoundedness();
    }

    @Override
    public SourceReader<RowData, KafkaPartitionSplit> createReader(SourceReaderContext context) throws Exception {
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
                () ->
                        clock.brokerDatesRecords()
                                ? new EndSeeingSplitReader(consumer, context, metrics, caughtUp)
                                : new PositionedSplitReader(consumer, context, metrics, caughtUp);
        Configuration configuration = new Configuration();
        consumer.stringPropertyNames().forEach(key -> configuration.setString(key, consumer.getProperty(key)));
        return new LogSourceReader(
                new LogFetcherManager(splitReader),
                once == null
                        ? new LogRecordEmitter(rows, clock)
                        : new OnceEmitter(rows, clock, once, once.time(context.metricGroup())),
                configuration,
                context,
                metrics,
                clock,
                caughtUp);
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> createEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context) {
        return withBacklog(kafka.createEnumerator(context), context);
    }

    @Override
    public SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> restoreEnumerator(
            SplitEnumeratorContext<KafkaPartitionSplit> context, KafkaSourceEnumState checkpoint) throws Exception {
        return withBacklog(kafka.restoreEnumerator(context, checkpoint), context);
    }

    /** What is read to an end is soon over, or a reference: it says nothing of how far the job is. */
    private SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> withBacklog(
            SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> enumerator,
            SplitEnumeratorContext<KafkaPartitionSplit> context) {
        return getBoundedness() == Boundedness.BOUNDED ? enumerator : new LogEnumerator(enumerator, context);
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
