package kappa.flink;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.legacy.SinkFunction;
import org.apache.flink.streaming.api.functions.source.legacy.SourceFunction;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;

/**
 * Runs windows of Flink SQL over given records, and prints what they come to: no Kafka, no files, one JVM for many runs.
 *
 * <p>A line of standard input is a run, of fields separated by tabs: its name, the time zone, {@code ONE_PHASE} or
 * {@code TWO_PHASE}, how many records come between two checkpoints (0: all at once, without checkpoints), the windows and
 * the records. A window is {@code KIND:size:slide or step:offset} in minutes; {@code ONCE} and {@code DAYS} are windows
 * behind windows. A record is {@code happened:appended} in epoch milliseconds less the allowed lateness, so that the
 * watermark follows a record's appended. {@code GROUP_TUMBLE} is one of the older {@code GROUP BY TUMBLE(…)}.
 *
 * <p>A line of standard output is a row: run, window, start, end, key, count, sum of the records' numbers.
 */
@SuppressWarnings("deprecation") // Flink's older sources are the only ones that say when the next record comes
public final class WindowRuns {

    private static final Map<String, ConcurrentLinkedQueue<Row>> RESULTS = new ConcurrentHashMap<>();

    private WindowRuns() {}

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
        try {
            List<Future<?>> runs = new ArrayList<>();
            for (String line : in.lines().collect(Collectors.toList())) {
                runs.add(pool.submit(() -> {
                    run(line.split("\t"));
                    return null;
                }));
            }
            for (Future<?> run : runs) {
                run.get();
            }
        } finally {
            pool.shutdownNow();
        }
    }

    private static void run(String[] field) throws Exception {
        run(field[0], field[1], field[2], Integer.parseInt(field[3]), field[4].split(","), field[5].split(","));
        StringBuilder text = new StringBuilder();
        for (Row row : RESULTS.remove(field[0])) {
            text.append(field[0]);
            for (int i = 0; i < row.getArity(); i++) {
                text.append('\t').append(row.getField(i));
            }
            text.append('\n');
        }
        System.out.print(text); // at once: others print too
    }

    private static void run(String name, String zone, String phase, int flush, String[] windows, String[] records)
            throws Exception {
        RESULTS.put(name, new ConcurrentLinkedQueue<>());
        Configuration configuration = new Configuration();
        configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "jobmanager");
        if (flush > 0) {
            configuration.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(10));
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, configuration);
        StreamTableEnvironment tables = StreamTableEnvironment.create(env);
        tables.getConfig().setLocalTimeZone(ZoneId.of(zone));
        tables.getConfig().set("table.optimizer.agg-phase-strategy", phase);
        DataStream<Row> events =
                env.addSource(new Records(records, flush))
                        .returns(Types.ROW_NAMED(
                                new String[] {"n", "k", "t"}, Types.INT, Types.STRING, Types.INSTANT));
        tables.createTemporaryView("events", tables.fromDataStream(events, Schema.newBuilder()
                .column("n", DataTypes.INT())
                .column("k", DataTypes.STRING())
                .column("t", DataTypes.TIMESTAMP_LTZ(3))
                .watermark("t", "SOURCE_WATERMARK()")
                .build()));
        tables.executeSql("CREATE TEMPORARY VIEW once AS SELECT n, k, window_time FROM (SELECT *, ROW_NUMBER() OVER "
                + "(PARTITION BY window_start, window_end, n ORDER BY t) AS copy FROM "
                + source("TUMBLE:60:60:0", "events", "t") + ") WHERE copy = 1");
        tables.executeSql("CREATE TEMPORARY VIEW hours AS SELECT k, SUM(n) AS n, window_time FROM "
                + source("TUMBLE:60:60:0", "events", "t") + " GROUP BY window_start, window_end, window_time, k");
        String sql = Arrays.stream(windows).map(WindowRuns::query).collect(Collectors.joining(" UNION ALL "));
        tables.toDataStream(tables.sqlQuery(sql)).addSink(new Results(name));
        env.execute(name);
    }

    private static String query(String window) {
        if (window.startsWith("GROUP_TUMBLE")) {
            String of = "(t, " + minutes(window.split(":")[1]) + ")";
            return "SELECT '" + window + "', TUMBLE_START" + of + ", TUMBLE_END" + of
                    + ", k, COUNT(*), SUM(n) FROM events GROUP BY TUMBLE" + of + ", k";
        }
        String from = switch (window) {
            case "ONCE" -> source("TUMBLE:60:60:0", "once", "window_time");
            case "DAYS" -> source("TUMBLE:1440:1440:0", "hours", "window_time");
            default -> source(window, "events", "t");
        };
        return "SELECT '" + window + "', window_start, window_end, k, COUNT(*), SUM(n) FROM " + from
                + " GROUP BY window_start, window_end, k";
    }

    private static String source(String window, String table, String time) {
        String[] part = window.split(":");
        List<String> minutes = new ArrayList<>();
        if (!part[0].equals("TUMBLE")) {
            minutes.add(part[2]);
        }
        minutes.add(part[1]);
        if (!part[3].equals("0")) {
            minutes.add(part[3]);
        }
        return minutes.stream().map(WindowRuns::minutes).collect(Collectors.joining(
                ", ", "TABLE(" + part[0] + "(TABLE " + table + ", DESCRIPTOR(" + time + "), ", "))"));
    }

    private static String minutes(String number) {
        return "INTERVAL '" + number + "' MINUTE(6)";
    }

    /** Emits the records in their order; between two checkpoints just so many. */
    private static final class Records implements SourceFunction<Row>, CheckpointedFunction {

        private static final long serialVersionUID = 1L;

        private final String[] records;
        private final int flush;
        private volatile int snapshots;

        Records(String[] records, int flush) {
            this.records = records;
            this.flush = flush > 0 ? flush : records.length;
        }

        @Override
        public void run(SourceContext<Row> context) throws Exception {
            for (int first = 0; first < records.length; first += flush) {
                int before;
                synchronized (context.getCheckpointLock()) {
                    for (int i = first; i < Math.min(first + flush, records.length); i++) {
                        emit(context, i, records[i].split(":"));
                    }
                    before = snapshots;
                }
                while (flush < records.length && snapshots == before) {
                    Thread.sleep(1);
                }
            }
        }

        private static void emit(SourceContext<Row> context, int number, String[] record) {
            long happened = Long.parseLong(record[0]);
            Row row = Row.of(number, number % 2 == 0 ? "a" : "b", Instant.ofEpochMilli(happened));
            context.collectWithTimestamp(row, happened);
            context.emitWatermark(new Watermark(Long.parseLong(record[1])));
        }

        @Override
        public void cancel() {}

        @Override
        public void snapshotState(FunctionSnapshotContext context) {
            snapshots++;
        }

        @Override
        public void initializeState(FunctionInitializationContext context) {}
    }

    /** Keeps what a run comes to. */
    private static final class Results implements SinkFunction<Row> {

        private static final long serialVersionUID = 1L;

        private final String run;

        Results(String run) {
            this.run = run;
        }

        @Override
        public void invoke(Row row, Context context) {
            RESULTS.get(run).add(row);
        }
    }
}
