package kappa.lake;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamSink;
import org.apache.flink.streaming.api.transformations.UnionTransformation;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DataStreamSinkProvider;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.table.types.logical.RowType;
import org.apache.iceberg.Table;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.flink.sink.FlinkSink;

/** Appends rows to a branch of an Iceberg table, whose columns are looked up when the job is made. */
final class LakeTableSink implements DynamicTableSink {

    private final TableLoader loader;
    private final String name;
    private final String branch;
    private final RowType written;
    private final ReadableConfig config;
    private final TopicSink topic;

    /** {@code topic} is null where rows are written to the table alone. */
    LakeTableSink(
            TableLoader loader, String name, String branch, RowType written, ReadableConfig config, TopicSink topic) {
        this.loader = loader;
        this.name = name;
        this.branch = branch;
        this.written = written;
        this.config = config;
        this.topic = topic;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return ChangelogMode.insertOnly();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        if (topic == null) {
            return (DataStreamSinkProvider) (provider, rows) -> append(rows);
        }
        Sink<RowData> records = topic.sink(context);
        return (DataStreamSinkProvider) (provider, rows) -> append(alsoTo(records, rows));
    }

    /**
     * The rows, from which a second sink hangs.
     *
     * <p>The planner makes a job of what the table's own sink depends on. A sink has no output, so the union has only the
     * rows, and takes the other sink into the job.
     */
    private DataStream<RowData> alsoTo(Sink<RowData> records, DataStream<RowData> rows) {
        DataStreamSink<RowData> other =
                rows.sinkTo(records)
                        .name("topic of " + name)
                        .uid("topic-" + name)
                        .setParallelism(rows.getParallelism());
        return new DataStream<>(
                rows.getExecutionEnvironment(),
                new UnionTransformation<>(List.of(rows.getTransformation(), other.getTransformation())));
    }

    private DataStreamSink<?> append(DataStream<RowData> rows) {
        Table table = load();
        RowType columns = FlinkSchemaUtil.convert(table.schema());
        // Also where nothing has to be done: the state of what is before it is found by its place in the job.
        DataStream<RowData> fitted =
                rows.map(new Fitting(Fit.between(written, columns, "")))
                        .returns(InternalTypeInfo.of(columns))
                        .name("columns of " + name)
                        .uid("lake-" + name + "-columns")
                        .setParallelism(rows.getParallelism());
        return FlinkSink.forRowData(fitted)
                .tableLoader(loader)
                .table(table)
                .toBranch(branch)
                .flinkConf(config)
                .uidPrefix("lake-" + name)
                .append();
    }

    private Table load() {
        loader.open();
        try (TableLoader open = loader) {
            return open.loadTable();
        } catch (IOException e) {
            throw new UncheckedIOException("The Iceberg table " + name + " cannot be read.", e);
        }
    }

    @Override
    public DynamicTableSink copy() {
        return new LakeTableSink(loader, name, branch, written, config, topic);
    }

    @Override
    public String asSummaryString() {
        return "Iceberg table " + name;
    }

    /** Rows as the table has them. */
    private static final class Fitting implements MapFunction<RowData, RowData> {

        private static final long serialVersionUID = 1L;

        private final Fit fit;

        Fitting(Fit fit) {
            this.fit = fit;
        }

        @Override
        public RowData map(RowData row) {
            return fit == null ? row : (RowData) fit.apply(row);
        }
    }
}
