package kappa.log;

import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.streaming.connectors.kafka.config.BoundedMode;
import org.apache.flink.streaming.connectors.kafka.config.StartupMode;
import org.apache.flink.streaming.connectors.kafka.table.KafkaConnectorOptions;
import org.apache.flink.streaming.connectors.kafka.table.KafkaDynamicSource;
import org.apache.flink.streaming.connectors.kafka.table.KafkaDynamicTableFactory;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.types.DataType;

/**
 * The table connector {@code kappa-log}: Flink's {@code kafka}, for reading, with these differences.
 *
 * <ul>
 *   <li>A checkpoint holds the clock of each partition: the latest timestamp read. A restored partition begins with the
 *       watermark that its last record left, and not with none until a further record comes.
 *   <li>With {@code broker-time}, for a topic with {@code message.timestamp.type=LogAppendTime}, the clock of a
 *       partition that is read to its end, or was always empty, goes on with the wall clock.
 *   <li>The source emits its watermarks itself, a millisecond behind what the SQL declares: see {@link LogClock#after}.
 *   <li>Where it stands at each checkpoint is written beside the checkpoint: see {@link PositionFiles}.
 *   <li>Until every reader is near the ends of its partitions the source says that it works off a backlog: see {@link
 *       LogEnumerator}.
 *   <li>With {@code once}, each event of a partition is read once, and in order of time: see {@link OnceEmitter}. The
 *       watermark is declared as the event's time itself, {@code WATERMARK FOR t AS t}. An event that is later than the
 *       log's clock by more than {@code max-ahead} is read as it comes.
 *   <li>There are metadata columns {@code key}, {@code headers} and {@code clock}: see {@link RowDeserializer.Metadata}.
 *   <li>A table that is read to an end can also be a function of time and key: see {@link Versions}.
 *   <li>With {@code records} it reads files in the place of Kafka, to their ends: see {@link RecordFiles}. All that follows
 *       from records is the same.
 * </ul>
 *
 * <p>It has the options of {@code kafka} and those below. Without {@code once} the watermark declared in SQL must be the record's
 * timestamp less {@code allowed-lateness}.
 */
public final class LogTableFactory implements DynamicTableSourceFactory {

    static final String IDENTIFIER = "kappa-log";

    static final ConfigOption<Duration> ALLOWED_LATENESS =
            ConfigOptions.key("allowed-lateness")
                    .durationType()
                    .noDefaultValue()
                    .withDescription("What the watermark is behind a record's timestamp.");

    static final ConfigOption<Boolean> BROKER_TIME =
            ConfigOptions.key("broker-time")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription("The broker dates the records: message.timestamp.type is LogAppendTime.");

    static final ConfigOption<Duration> BROKER_TIME_MARGIN =
            ConfigOptions.key("broker-time.margin")
                    .durationType()
                    .defaultValue(Duration.ofMinutes(1))
                    .withDescription(
                            "How much older than now a record may be dated that becomes visible now: the brokers' "
                                    + "replica.lag.time.max.ms and half as much, and what clocks differ by.");

    static final ConfigOption<List<String>> ONCE =
            ConfigOptions.key("once")
                    .stringType()
                    .asList()
                    .defaultValues()
                    .withDescription("The columns that make two records the same event, of which each is read once.");

    static final ConfigOption<Duration> MAX_AHEAD =
            ConfigOptions.key("max-ahead")
                    .durationType()
                    .noDefaultValue()
                    .withDescription(
                            "With 'once': how much later than the log's clock an event may be to be held. One that is "
                                    + "later is read as it comes.");

    static final ConfigOption<String> RECORDS =
            ConfigOptions.key("records")
                    .stringType()
                    .noDefaultValue()
                    .withDescription("A folder of files with the topic's records, which are read to their ends instead of Kafka.");

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return new Kafka(null).requiredOptions();
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return new Kafka(null).optionalOptions();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        Configuration options = Configuration.fromMap(context.getCatalogTable().getOptions());
        Duration margin = options.get(BROKER_TIME) ? options.get(BROKER_TIME_MARGIN) : null;
        LogOptions read =
                new LogOptions(
                        new LogClock(options.get(ALLOWED_LATENESS), margin),
                        options.get(ONCE),
                        options.get(MAX_AHEAD),
                        context.getConfiguration().get(CheckpointingOptions.CHECKPOINTS_DIRECTORY),
                        options.get(RECORDS));
        return new Kafka(read).createDynamicTableSource(context);
    }

    /** The connector's factory: it validates and parses the options, and this one makes of them a source of ours. */
    private static final class Kafka extends KafkaDynamicTableFactory {

        private final LogOptions options;

        Kafka(LogOptions options) {
            this.options = options;
        }

        @Override
        public String factoryIdentifier() {
            return LogTableFactory.IDENTIFIER;
        }

        @Override
        public Set<ConfigOption<?>> requiredOptions() {
            Set<ConfigOption<?>> options = new HashSet<>(super.requiredOptions());
            options.add(KafkaConnectorOptions.PROPS_GROUP_ID);
            options.add(ALLOWED_LATENESS);
            return options;
        }

        @Override
        public Set<ConfigOption<?>> optionalOptions() {
            Set<ConfigOption<?>> options = new HashSet<>(super.optionalOptions());
            options.remove(KafkaConnectorOptions.PROPS_GROUP_ID);
            options.add(BROKER_TIME);
            options.add(BROKER_TIME_MARGIN);
            options.add(ONCE);
            options.add(MAX_AHEAD);
            options.add(RECORDS);
            return options;
        }

        @Override
        protected KafkaDynamicSource createKafkaTableSource(
                DataType physicalDataType,
                DecodingFormat<DeserializationSchema<RowData>> keyFormat,
                DecodingFormat<DeserializationSchema<RowData>> valueFormat,
                int[] keyProjection,
                int[] valueProjection,
                String keyPrefix,
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
                Integer parallelism) {
            checkOrder(keyProjection, valueProjection.length);
            return new LogTableSource(
                    physicalDataType,
                    keyFormat,
                    valueFormat,
                    keyProjection,
                    valueProjection,
                    topics,
                    topicPattern,
                    properties,
                    startupMode,
                    startupOffsets,
                    startupTimestamp,
                    boundedMode,
                    boundedOffsets,
                    boundedTimestamp,
                    tableIdentifier,
                    parallelism,
                    options);
        }

        private static void checkOrder(int[] keyProjection, int values) {
            for (int i = 0; i < keyProjection.length; i++) {
                if (keyProjection[i] != values + i) {
                    throw new ValidationException(
                            String.format(
                                    "In a table of the connector '%s' the columns of 'key.fields' stand behind all others, "
                                            + "in their order, with 'value.fields-include' = 'EXCEPT_KEY'. Found: %s",
                                    LogTableFactory.IDENTIFIER, Arrays.toString(keyProjection)));
                }
            }
        }
    }
}
