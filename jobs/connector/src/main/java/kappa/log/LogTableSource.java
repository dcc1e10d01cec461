package kappa.log;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Pattern;
import kappa.log.RowDeserializer.Metadata;
import org.apache.flink.api.common.eventtime.NoWatermarksGenerator;
import org.apache.flink.api.common.eventtime.WatermarkAlignmentParams;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.connector.kafka.source.KafkaSourceOptions;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamSource;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.connectors.kafka.config.BoundedMode;
import org.apache.flink.streaming.connectors.kafka.config.StartupMode;
import org.apache.flink.streaming.connectors.kafka.table.KafkaDynamicSource;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.ProviderContext;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DataStreamScanProvider;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;

/** The connector's table source around a {@link LogSource}. */
final class LogTableSource extends KafkaDynamicSource {

    private static final String OF_THE_FORMAT = "value.";

    private final LogOptions options;
    private final DecodingFormat<DeserializationSchema<RowData>> keyFormat;
    private final int[] keyColumns;
    private List<String> metadata = List.of();

    LogTableSource(
            DataType physicalDataType,
            DecodingFormat<DeserializationSchema<RowData>> keyFormat,
            DecodingFormat<DeserializationSchema<RowData>> format,
            int[] keyColumns,
            int[] valueProjection,
            List<String> topics,
            Pattern topicPattern,
            Properties properties,
            StartupMode startupMode,
            Map<TopicPartition, Long> startupOffsets,
            long startupTimestamp,
            BoundedMode boundedMode,
            Map<TopicPartition, Long> boundedOffsets,
            long boundedTimestamp,
            String tableIdentifier,
            Integer parallelism,
            LogOptions options) {
        super(
                physicalDataType,
                null,
                format,
                new int[0],
                valueProjection,
                null,
                topics,
                topicPattern,
                properties,
                startupMode,
                startupOffsets,
                startupTimestamp,
                boundedMode,
                boundedOffsets,
                boundedTimestamp,
                false,
                tableIdentifier,
                parallelism);
        this.options = options;
        this.keyFormat = keyFormat;
        this.keyColumns = keyColumns;
    }

    @Override
    public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
        DeserializationSchema<RowData> value = valueDecodingFormat.createRuntimeDecoder(context, values());
        TypeInformation<RowData> produced = context.createTypeInformation(producedDataType);
        List<Metadata> columns = metadata.stream().map(Metadata::ofKey).toList();
        LogSource source =
                new LogSource(
                        createKafkaSource(null, value, produced),
                        new RowDeserializer(rows(context, value), new ArrayList<>(columns), produced),
                        consumerProperties(),
                        options.clock(),
                        watermarkStrategy != null,
                        options.once().isEmpty() ? null : once(DataType.getFieldNames(physicalDataType)),
                        specificBoundedOffsets,
                        options.checkpoints(),
                        recordFiles());
        WatermarkStrategy<RowData> watermarks = watermarks();
        return new DataStreamScanProvider() {
            @Override
            public DataStream<RowData> produceDataStream(ProviderContext provider, StreamExecutionEnvironment env) {
                DataStreamSource<RowData> stream = env.fromSource(source, watermarks, "KafkaSource-" + tableIdentifier);
                provider.generateUid(LogTableFactory.IDENTIFIER).ifPresent(stream::uid);
                return stream;
            }

            @Override
            public boolean isBounded() {
                return source.getBoundedness() == Boundedness.BOUNDED;
            }

            @Override
            public Optional<Integer> getParallelism() {
                return Optional.ofNullable(parallelism);
            }
        };
    }

    private DataType values() {
        return Projection.of(valueProjection).project(physicalDataType);
    }

    private KeyedRows rows(DynamicTableSource.Context context, DeserializationSchema<RowData> value) {
        if (keyFormat == null) {
            return KeyedRows.of(value);
        }
        DataType key = Projection.of(keyColumns).project(physicalDataType);
        return new KeyedRows(value, keyFormat.createRuntimeDecoder(context, key), keyColumns.length);
    }

    /** Null for Kafka. */
    private RecordFiles recordFiles() {
        return options.records() == null ? null : new RecordFiles(options.records(), topics);
    }

    private Once once(List<String> columns) {
        if (watermarkStrategy == null) {
            throw new ValidationException(
                    String.format("%s with 'once' needs WATERMARK FOR t AS t, t the event's time", tableIdentifier));
        }
        List<String> identity = options.once();
        if (!columns.containsAll(identity)) {
            throw new ValidationException(
                    String.format("'once' of %s is some of its columns %s. Found: %s", tableIdentifier, columns, identity));
        }
        return new Once(
                identity.stream().mapToInt(columns::indexOf).toArray(),
                watermarkStrategy,
                options.maxAhead(),
                columns.indexOf("log_value"),
                columns.indexOf("log_error"));
    }

    private WatermarkStrategy<RowData> watermarks() {
        if (watermarkStrategy == null) {
            return WatermarkStrategy.noWatermarks();
        }
        return new OwnWatermarks(watermarkStrategy.getAlignmentParameters());
    }

    /** The reader emits them itself: see {@link LogSourceReader}. */
    private record OwnWatermarks(WatermarkAlignmentParams alignment) implements WatermarkStrategy<RowData> {

        private static final long serialVersionUID = 1L;

        @Override
        public WatermarkGenerator<RowData> createWatermarkGenerator(WatermarkGeneratorSupplier.Context context) {
            return new NoWatermarksGenerator<>();
        }

        @Override
        public WatermarkAlignmentParams getAlignmentParameters() {
            return alignment;
        }
    }

    /**
     * The table as a function of time and key.
     *
     * @param time the column of a version's time; null for the record's timestamp
     * @throws ValidationException if the table is of more than one topic, or has no such columns
     */
    Versions versions(List<String> key, String time) {
        List<String> columns = DataType.getFieldNames(physicalDataType);
        if (topics == null || topics.size() != 1) {
            throw new ValidationException(String.format("Versions are of one topic. Found: %s", tableIdentifier));
        }
        if (key.isEmpty() || !columns.containsAll(key)) {
            throw new ValidationException(
                    String.format("The key of %s is some of its columns %s. Found: %s", tableIdentifier, columns, key));
        }
        VersionReader.Log log =
                new VersionReader.Log(
                        topics.get(0),
                        consumerProperties(),
                        options.clock(),
                        boundedMode != BoundedMode.UNBOUNDED,
                        new HashMap<>(specificBoundedOffsets),
                        recordFiles());
        return new Versions(
                log,
                rows(
                        ScanRuntimeProviderContext.INSTANCE,
                        valueDecodingFormat.createRuntimeDecoder(ScanRuntimeProviderContext.INSTANCE, values())),
                physicalDataType,
                key.stream().mapToInt(columns::indexOf).toArray(),
                time == null ? -1 : columns.indexOf(time));
    }

    /** What KafkaSourceBuilder adds to the properties that it was given, and does not give away again. */
    private Properties consumerProperties() {
        Properties whole = new Properties();
        whole.setProperty(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        whole.setProperty(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class.getName());
        whole.setProperty(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        whole.setProperty(
                KafkaSourceOptions.CLIENT_ID_PREFIX.key(), properties.getProperty(ConsumerConfig.GROUP_ID_CONFIG));
        whole.putAll(properties);
        // A position outside of the log, after a loss of records, fails the job. Any other policy would go on elsewhere:
        // 'earliest', which the connector sets, reads everything again.
        whole.setProperty(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none");
        return whole;
    }

    @Override
    public Map<String, DataType> listReadableMetadata() {
        Map<String, DataType> readable = super.listReadableMetadata();
        readable.keySet().removeIf(key -> !key.startsWith(OF_THE_FORMAT));
        for (Metadata column : Metadata.values()) {
            readable.put(column.key(), column.type());
        }
        return readable;
    }

    /** The connector is told of none but the format's: it knows not all of ours, and does not read them. */
    @Override
    public void applyReadableMetadata(List<String> keys, DataType produced) {
        metadata = keys.stream().filter(key -> !key.startsWith(OF_THE_FORMAT)).toList();
        super.applyReadableMetadata(keys.stream().filter(key -> key.startsWith(OF_THE_FORMAT)).toList(), produced);
    }

    @Override
    public DynamicTableSource copy() {
        LogTableSource copy =
                new LogTableSource(
                        physicalDataType,
                        keyFormat,
                        valueDecodingFormat,
                        keyColumns,
                        valueProjection,
                        topics,
                        topicPattern,
                        properties,
                        startupMode,
                        specificStartupOffsets,
                        startupTimestampMillis,
                        boundedMode,
                        specificBoundedOffsets,
                        boundedTimestampMillis,
                        tableIdentifier,
                        parallelism,
                        options);
        copy.producedDataType = producedDataType;
        copy.metadataKeys = metadataKeys;
        copy.metadata = metadata;
        copy.watermarkStrategy = watermarkStrategy;
        return copy;
    }

    @Override
    public String asSummaryString() {
        return "Kafka log table source";
    }

    @Override
    public boolean equals(Object other) {
        return super.equals(other)
                && other instanceof LogTableSource source
                && options.equals(source.options)
                && Objects.equals(keyFormat, source.keyFormat)
                && Arrays.equals(keyColumns, source.keyColumns)
                && metadata.equals(source.metadata);
    }

    @Override
    public int hashCode() {
        return Objects.hash(super.hashCode(), options, Arrays.hashCode(keyColumns), metadata);
    }
}
