package kappa.log;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.internal.TableEnvironmentInternal;
import org.apache.flink.table.catalog.CatalogManager;
import org.apache.flink.table.catalog.ContextResolvedTable;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.catalog.ObjectIdentifier;
import org.apache.flink.table.catalog.UnresolvedIdentifier;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.ArgumentTypeStrategy;
import org.apache.flink.table.types.inference.InputTypeStrategies;
import org.apache.flink.table.types.inference.TypeInference;
import org.apache.flink.table.types.inference.TypeStrategies;
import org.apache.flink.table.types.utils.DataTypeUtils;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/**
 * {@code T_at(time, key…)} in SQL: the row of table T that was valid for a key at a time, which is its latest record with
 * a timestamp of that time or before; no row if there is none.
 *
 * <p>T is a topic that is read up to fixed offsets. The rows are those of an event-time temporal join, without what that
 * costs: a shuffle of the events by the key, and each of them kept in state until the watermark passes. In return every
 * subtask reads the whole table when it starts, and holds it in memory. The offsets are fixed with the release, so every
 * run has the same versions. Of records with one timestamp the last counts, by partition and offset. Undecodable
 * records, and those without a key, are left out.
 */
public final class Versions extends TableFunction<RowData> {

    private static final long serialVersionUID = 1L;
    private static final Duration POLL = Duration.ofSeconds(1);

    private final String topic;
    private final Properties consumer;
    private final Map<TopicPartition, Long> ends;
    private final DeserializationSchema<RowData> value;
    private final DataType row;
    private final int[] key;
    private final int error;
    private transient Map<Object, TreeMap<Long, RowData>> versions;

    /**
     * @param consumer of bytes, whole
     * @param ends where reading ends, per partition; empty for what the topic holds when a subtask starts
     * @param row the type of what {@code value} makes of a record
     * @param key positions of the key's columns
     * @param error position of the column that says why a record could not be decoded, or -1
     */
    Versions(
            String topic,
            Properties consumer,
            Map<TopicPartition, Long> ends,
            DeserializationSchema<RowData> value,
            DataType row,
            int[] key,
            int error) {
        this.topic = topic;
        this.consumer = consumer;
        this.ends = new HashMap<>(ends);
        this.value = value;
        this.row = DataTypeUtils.toInternalDataType(row);
        this.key = key;
        this.error = error;
    }

    /** Declares {@code table_at} for a table of the connector {@code kappa-log}; called from Python. */
    public static void declare(TableEnvironment env, String table, String[] key) {
        CatalogManager catalogs = ((TableEnvironmentInternal) env).getCatalogManager();
        ObjectIdentifier name = catalogs.qualifyIdentifier(UnresolvedIdentifier.of(table));
        ContextResolvedTable declared = catalogs.getTableOrError(name);
        DynamicTableSource source =
                FactoryUtil.createDynamicTableSource(
                        null,
                        name,
                        declared.getResolvedTable(),
                        Map.of(),
                        env.getConfig(),
                        Thread.currentThread().getContextClassLoader(),
                        declared.isTemporary());
        env.createTemporarySystemFunction(table + "_at", ((LogTableSource) source).versions(List.of(key)));
    }

    @Override
    public TypeInference getTypeInference(DataTypeFactory types) {
        List<DataType> columns = DataType.getFieldDataTypes(row);
        Stream<DataType> time = Stream.of(DataTypes.TIMESTAMP_LTZ(3).bridgedTo(TimestampData.class));
        ArgumentTypeStrategy[] arguments =
                Stream.concat(time, Arrays.stream(key).mapToObj(columns::get))
                        .map(InputTypeStrategies::explicit)
                        .toArray(ArgumentTypeStrategy[]::new);
        return TypeInference.newBuilder()
                .inputTypeStrategy(InputTypeStrategies.sequence(arguments))
                .outputTypeStrategy(TypeStrategies.explicit(row))
                .build();
    }

    @Override
    public void open(FunctionContext context) throws Exception {
        value.open(
                new DeserializationSchema.InitializationContext() {
                    @Override
                    public MetricGroup getMetricGroup() {
                        return context.getMetricGroup().addGroup(topic);
                    }

                    @Override
                    public UserCodeClassLoader getUserCodeClassLoader() {
                        return SimpleUserCodeClassLoader.create(Thread.currentThread().getContextClassLoader());
                    }
                });
        hold(read());
    }

    /** Called by the planner's code. */
    public void eval(TimestampData time, Object... values) {
        TreeMap<Long, RowData> all = time == null ? null : versions.get(keyOf(values));
        Map.Entry<Long, RowData> valid = all == null ? null : all.floorEntry(time.getMillisecond());
        if (valid != null) {
            collect(valid.getValue());
        }
    }

    String topic() {
        return topic;
    }

    private Collection<ConsumerRecord<byte[], byte[]>> read() {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        Properties own = new Properties();
        own.putAll(consumer);
        own.remove(ConsumerConfig.GROUP_ID_CONFIG);
        own.remove(ConsumerConfig.CLIENT_ID_CONFIG);
        try (KafkaConsumer<byte[], byte[]> kafka = new KafkaConsumer<>(own)) {
            Map<TopicPartition, Long> wanted = ends.isEmpty() ? endsNow(kafka) : ends;
            kafka.assign(wanted.keySet());
            kafka.seekToBeginning(wanted.keySet());
            while (wanted.entrySet().stream().anyMatch(end -> kafka.position(end.getKey()) < end.getValue())) {
                for (ConsumerRecord<byte[], byte[]> record : kafka.poll(POLL)) {
                    if (record.offset() < wanted.get(new TopicPartition(record.topic(), record.partition()))) {
                        records.add(record);
                    }
                }
            }
        }
        return records;
    }

    private Map<TopicPartition, Long> endsNow(KafkaConsumer<byte[], byte[]> kafka) {
        return kafka.endOffsets(
                kafka.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList());
    }

    /** Decodes records and keeps their rows, by key and timestamp. */
    void hold(Collection<ConsumerRecord<byte[], byte[]>> records) throws IOException {
        List<DataType> columns = DataType.getFieldDataTypes(row);
        List<RowData.FieldGetter> getters = new ArrayList<>();
        for (int column : key) {
            getters.add(RowData.createFieldGetter(columns.get(column).getLogicalType(), column));
        }
        List<ConsumerRecord<byte[], byte[]>> inOrder = new ArrayList<>(records);
        inOrder.sort(Comparator.<ConsumerRecord<?, ?>>comparingInt(r -> r.partition()).thenComparingLong(r -> r.offset()));
        versions = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : inOrder) {
            List<RowData> rows = new ArrayList<>();
            value.deserialize(record.value(), new ListCollector<>(rows));
            for (RowData decoded : rows) {
                Object[] values = getters.stream().map(getter -> getter.getFieldOrNull(decoded)).toArray();
                boolean whole = error < 0 || decoded.isNullAt(error);
                if (whole && Arrays.stream(values).allMatch(Objects::nonNull)) {
                    versions.computeIfAbsent(keyOf(values), k -> new TreeMap<>()).put(record.timestamp(), decoded);
                }
            }
        }
    }

    private static Object keyOf(Object[] values) {
        return values.length == 1 ? values[0] : Arrays.asList(values);
    }
}
