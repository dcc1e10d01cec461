package kappa.lake;

import java.util.Map;
import java.util.Set;
import kappa.secrets.SecretFiles;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.types.logical.RowType;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.FlinkCatalogFactory;
import org.apache.iceberg.flink.TableLoader;

/**
 * The table connector {@code kappa-lake}: Iceberg's sink, for appending to one branch, with these differences.
 *
 * <ul>
 *   <li>Columns are matched by name. Iceberg's sink takes them by position, and fails where a later release has added,
 *       removed or widened one; here what the table has besides is NULL.
 *   <li>The plan does not depend on the table, and operators have names that do not depend on the plan: a job goes on
 *       from a checkpoint though the table's columns or its partition spec have changed since.
 *   <li>With {@code topic.name} each row is also a record of a Kafka topic, committed at the same checkpoints: see {@link
 *       TopicOptions}. The plan does not depend on that either.
 * </ul>
 *
 * <p>Options that are not below, nor begin with {@code topic.}, are the catalog's, as in Iceberg's {@code CREATE CATALOG}.
 */
public final class LakeTableFactory implements DynamicTableSinkFactory {

    static final String IDENTIFIER = "kappa-lake";

    static final ConfigOption<String> CATALOG = required("catalog-name");
    static final ConfigOption<String> NAMESPACE = required("catalog-database");
    static final ConfigOption<String> TABLE = required("catalog-table");
    static final ConfigOption<String> BRANCH = required("branch");

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(CATALOG, NAMESPACE, TABLE, BRANCH);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        Map<String, String> properties = context.getCatalogTable().getOptions();
        Configuration options = Configuration.fromMap(properties);
        for (ConfigOption<?> option : requiredOptions()) {
            if (!options.contains(option)) {
                throw new ValidationException(
                        String.format("The connector '%s' needs the option '%s'.", IDENTIFIER, option.key()));
            }
        }
        TopicOptions topic = TopicOptions.of(properties);
        TableIdentifier table = TableIdentifier.of(options.get(NAMESPACE), options.get(TABLE));
        TableLoader loader =
                TableLoader.fromCatalog(catalog(options.get(CATALOG), TopicOptions.others(properties)), table);
        RowType written = (RowType) context.getPhysicalRowDataType().getLogicalType();
        TopicSink records = topic == null ? null : TopicSink.of(topic, context);
        return new LakeTableSink(
                loader, options.get(TABLE), options.get(BRANCH), written, context.getConfiguration(), records);
    }

    /** A catalog by its options, as in {@code CREATE CATALOG}; some may name files of secrets. */
    public static CatalogLoader catalog(String name, Map<String, String> properties) {
        if (SecretFiles.areIn(properties)) {
            return new SecretCatalogLoader(name, properties);
        }
        var hadoop = FlinkCatalogFactory.clusterHadoopConf();
        String implementation = properties.get("catalog-impl");
        if (implementation != null) {
            return CatalogLoader.custom(name, properties, hadoop, implementation);
        }
        String type = properties.getOrDefault("catalog-type", "hive");
        return switch (type) {
            case "rest" -> CatalogLoader.rest(name, hadoop, properties);
            case "hadoop" -> CatalogLoader.hadoop(name, hadoop, properties);
            case "hive" -> CatalogLoader.hive(name, hadoop, properties);
            default -> throw new ValidationException("Unknown catalog-type '" + type + "': rest, hive, hadoop.");
        };
    }

    private static ConfigOption<String> required(String key) {
        return ConfigOptions.key(key).stringType().noDefaultValue();
    }
}
