package kappa.log;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.api.internal.TableEnvironmentInternal;
import org.apache.flink.table.catalog.CatalogManager;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.Column.MetadataColumn;
import org.apache.flink.table.catalog.ContextResolvedTable;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.catalog.ObjectIdentifier;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.catalog.UnresolvedIdentifier;
import org.apache.flink.table.catalog.WatermarkSpec;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.table.runtime.typeutils.RowDataSerializer;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.ArgumentTypeStrategy;
import org.apache.flink.table.types.inference.InputTypeStrategies;
import org.apache.flink.table.types.inference.TypeInference;
import org.apache.flink.table.types.inference.TypeStrategies;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.utils.DataTypeUtils;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/**
 * {@code T_at(time, key…)} in SQL: the row of table T that was valid for a key at a time, which is its latest version of
 * that time or before; no row if there is none. A version's time is the column of T's watermark.
 *
 * <p>The rows are those of an event-time temporal join, without what that costs: a shuffle of the events by the key, and
 * each of them kept in state until the watermark passes. In return each TaskManager holds T in memory.
 *
 * <ul>
 *   <li>A T that is read up to fixed offsets is held whole, and read before the first lookup. The offsets are fixed with
 *       the release, so every run has the same versions.
 *   <li>A T that is read without end is read as far as it is asked for, and old versions are forgotten once every
 *       subtask asks for later ones. A lookup waits until T's clock has passed its time, as the watermark of a temporal
 *       join would. Meanwhile nothing behind it goes on, checkpoints included: so T should be ahead of the events that
 *       look it up, which those behind a window are by their own allowed lateness. After five minutes the job fails and
 *       says what it waits for. Late versions are left out.
 * </ul>
 *
 * <p>Of versions of one time the last counts, by partition and offset. Undecodable records, and those without a key or a
 * time, are left out. The columns {@code log_value} and {@code log_error} are not in the row.
 */
public class Versions extends TableFunction<RowData> {

    private static final long serialVersionUID = 2L;
    private static final Set<String> OF_THE_FORMAT = Set.of("log_value", "log_error");
    private static final int KEPT = 100_000;
    private static final Duration PATIENCE = Duration.ofMinutes(5);
    private static final Map<String, VersionReader> READERS = new HashMap<>();

    private final VersionReader.Log log;
    private final KeyedRows rows;
    private final DataType columns;
    private final DataType row;
    private final int[] shown;
    private final int[] key;
    private final int time;
    private final int value;
    private final int error;
    private final String reader = UUID.randomUUID().toString();
    private transient VersionReader.Lookup lookup;

    /**
     * @param columns the type of what {@code rows} makes of a record
     * @param key positions of the key's columns
     * @param time position of a version's time, -1 for the record's timestamp
     */
    Versions(VersionReader.Log log, KeyedRows rows, DataType columns, int[] key, int time) {
        List<String> names = DataType.getFieldNames(columns);
        this.log = log;
        this.rows = rows;
        this.columns = DataTypeUtils.toInternalDataType(columns);
        this.shown = IntStream.range(0, names.size()).filter(i -> !OF_THE_FORMAT.contains(names.get(i))).toArray();
        this.row = Projection.of(shown).project(this.columns);
        this.key = key;
        this.time = time;
        this.value = names.indexOf("log_value");
        this.error = names.indexOf("log_error");
    }

    /**
     * Declares the function {@code name} over a table of the connector {@code kappa-log}; called from Python.
     */
    public static void declare(TableEnvironment env, String name, String table, List<String> key) {
        env.createTemporarySystemFunction(name, of(env, table, key));
    }

    /** The versions of a declared table of the connector {@code kappa-log}. */
    static Versions of(TableEnvironment env, String table, List<String> key) {
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
        String time = timeOf(declared.getResolvedSchema(), table);
        return ((LogTableSource) source).versions(key, time);
    }

    /** The physical column of the watermark, or null when that is the record's timestamp. */
    private static String timeOf(ResolvedSchema schema, String table) {
        String name =
                schema.getWatermarkSpecs().stream()
                        .map(WatermarkSpec::getRowtimeAttribute)
                        .findFirst()
                        .orElseThrow(() -> new ValidationException(table + " has versions, so it needs a WATERMARK"));
        Column column = schema.getColumn(name).orElseThrow();
        boolean isTimestamp =
                column instanceof MetadataColumn metadata && metadata.getMetadataKey().orElse(name).equals("timestamp");
        if (!isTimestamp && !column.isPhysical()) {
            throw new ValidationException(
                    String.format(
                            "The WATERMARK of %s, whose column is a version's time, is for a physical column or the "
                                    + "record's timestamp. Found: %s",
                            table, column));
        }
        return isTimestamp ? null : name;
    }

    @Override
    public TypeInference getTypeInference(DataTypeFactory types) {
        return inference(keyTypes().stream(), row);
    }

    /** That of a function of a time and keys. */
    static TypeInference inference(Stream<DataType> keys, DataType row) {
        DataType time = DataTypes.TIMESTAMP_LTZ(3).bridgedTo(TimestampData.class);
        ArgumentTypeStrategy[] arguments =
                Stream.concat(Stream.of(time), keys)
                        .map(InputTypeStrategies::explicit)
                        .toArray(ArgumentTypeStrategy[]::new);
        return TypeInference.newBuilder()
                .inputTypeStrategy(InputTypeStrategies.sequence(arguments))
                .outputTypeStrategy(TypeStrategies.explicit(row))
                .build();
    }

    List<DataType> keyTypes() {
        List<DataType> all = DataType.getFieldDataTypes(columns);
        return Arrays.stream(key).mapToObj(all::get).toList();
    }

    /** So many arguments follow the time. */
    int keyArity() {
        return key.length;
    }

    int arity() {
        return shown.length;
    }

    /** The type of the rows that are found, in internal data structures. */
    DataType row() {
        return row;
    }

    @Override
    public void open(FunctionContext context) throws Exception {
        synchronized (READERS) {
            VersionReader shared = READERS.get(reader);
            if (shared == null || shared.hasFailed()) {
                shared = new VersionReader(log, decoder(context.getMetricGroup()), KEPT, PATIENCE);
                READERS.put(reader, shared);
                Thread thread = new Thread(shared, "versions of " + log.topic());
                thread.setDaemon(true);
                thread.start();
            }
            lookup = shared.lookup();
        }
        if (log.bounded()) {
            lookup.readAll();
        }
    }

    /** Called by the planner's code. */
    public void eval(TimestampData at, Object... values) {
        GenericRowData valid = at(at, values);
        if (valid != null) {
            collect(valid);
        }
    }

    /** What is valid for a key at a time; null for nothing, and where the time or a column of the key is NULL. */
    GenericRowData at(TimestampData at, Object... values) {
        if (at == null) {
            return null;
        }
        for (Object value : values) {
            if (value == null) {
                return null;
            }
        }
        return lookup.at(keyOf(values), at.getMillisecond());
    }

    @Override
    public void close() {
        if (lookup == null) {
            return;
        }
        synchronized (READERS) {
            lookup.close();
            READERS.values().removeIf(VersionReader::isClosed);
        }
    }

    String topic() {
        return log.topic();
    }

    /** Puts the row of a record, if it is whole and, in a topic without end, not late. */
    VersionReader.Decoder decoder(MetricGroup metrics) throws Exception {
        rows.open(
                new DeserializationSchema.InitializationContext() {
                    @Override
                    public MetricGroup getMetricGroup() {
                        return metrics.addGroup(log.topic());
                    }

                    @Override
                    public UserCodeClassLoader getUserCodeClassLoader() {
                        return SimpleUserCodeClassLoader.create(Thread.currentThread().getContextClassLoader());
                    }
                });
        List<LogicalType> types = DataType.getFieldDataTypes(columns).stream().map(DataType::getLogicalType).toList();
        RowData.FieldGetter[] keys = getters(types, key);
        RowData.FieldGetter[] kept = getters(types, shown);
        RowType shownTypes = (RowType) row.getLogicalType();
        RowDataSerializer serializer = new RowDataSerializer(shownTypes);
        RowData.FieldGetter[] copied = getters(shownTypes.getChildren(), IntStream.range(0, shown.length).toArray());
        return (record, latest, table) -> {
            List<RowData> found = new ArrayList<>();
            rows.deserialize(record, new ListCollector<>(found));
            for (RowData decoded : found) {
                Object[] values = fields(keys, decoded);
                // A record without a value may have a key all the same.
                boolean isVersion = (value < 0 || !decoded.isNullAt(value)) && (error < 0 || decoded.isNullAt(error));
                boolean hasTime = time < 0 || !decoded.isNullAt(time);
                if (!isVersion || !hasTime || Arrays.stream(values).anyMatch(Objects::isNull)) {
                    continue;
                }
                long valid = time < 0 ? record.timestamp() : decoded.getTimestamp(time, 3).getMillisecond();
                if (log.bounded() || valid > log.clock().after(latest).getTimestamp()) {
                    // Through bytes: many threads read it, and strings would be encoded when the first of them does.
                    RowData bytes = serializer.toBinaryRow(GenericRowData.of(fields(kept, decoded))).copy();
                    GenericRowData copy = GenericRowData.of(fields(copied, bytes));
                    table.put(keyOf(values), valid, copy, record.partition(), record.offset());
                }
            }
        };
    }

    private static RowData.FieldGetter[] getters(List<LogicalType> types, int[] positions) {
        return Arrays.stream(positions)
                .mapToObj(position -> RowData.createFieldGetter(types.get(position), position))
                .toArray(RowData.FieldGetter[]::new);
    }

    private static Object[] fields(RowData.FieldGetter[] getters, RowData row) {
        return Arrays.stream(getters).map(getter -> getter.getFieldOrNull(row)).toArray();
    }

    /** What is equal where all values are; arrays of bytes by themselves never are. */
    static Object keyOf(Object[] values) {
        if (values.length == 1) {
            return comparable(values[0]);
        }
        Object[] found = new Object[values.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = comparable(values[i]);
        }
        return Arrays.asList(found);
    }

    private static Object comparable(Object value) {
        return value instanceof byte[] bytes ? ByteBuffer.wrap(bytes) : value;
    }
}
