package kappa.rows;

import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.types.DataType;

/** The table connector {@code kept-rows}: a folder of text files, a line for each row, exactly once. For tests. */
public final class KeptRowsFactory implements DynamicTableSinkFactory {

    private static final ConfigOption<String> FOLDER =
            ConfigOptions.key("folder").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "kept-rows";
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
        return new Table(context.getCatalogTable().getOptions().get(FOLDER.key()), context.getPhysicalRowDataType());
    }

    private record Table(String folder, DataType type) implements DynamicTableSink {

        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            return ChangelogMode.insertOnly();
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
            return SinkV2Provider.of(new KeptRows(folder, context.createDataStructureConverter(type)));
        }

        @Override
        public DynamicTableSink copy() {
            return new Table(folder, type);
        }

        @Override
        public String asSummaryString() {
            return "kept rows";
        }
    }
}
