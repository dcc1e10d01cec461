package kappa.lines;

import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.RowType;

/**
 * The table connector {@code kappa-lines}: a folder of files of JSON lines, one for each row, for a job that ends.
 *
 * <p>Each value is exact: see {@link Json}. There are no checkpoints: what is in the folder before the job has ended well is
 * not to be read.
 */
public final class LinesTableFactory implements DynamicTableSinkFactory {

    static final String IDENTIFIER = "kappa-lines";

    static final ConfigOption<String> FOLDER = ConfigOptions.key("folder").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(FOLDER);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Table(
                helper.getOptions().get(FOLDER), (RowType) context.getPhysicalRowDataType().getLogicalType());
    }

    private record Table(String folder, RowType type) implements DynamicTableSink {

        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            return ChangelogMode.insertOnly();
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
            return SinkV2Provider.of(new Lines(folder, type));
        }

        @Override
        public DynamicTableSink copy() {
            return new Table(folder, type);
        }

        @Override
        public String asSummaryString() {
            return "JSON lines";
        }
    }
}
