package kappa.lake;

import java.io.Serializable;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.ValidationException;

/**
 * Options of the topic to which a table's rows are also written. All begin with {@code topic.}; without {@code topic.name}
 * there is none.
 *
 * @param name the topic's name
 * @param key the columns of a record's key; none: records have no key
 * @param prefix what the ids of its transactions begin with, and of no other job's
 * @param source the CloudEvents attribute {@code source}
 * @param type the CloudEvents attribute {@code type}
 * @param time the column that the CloudEvents attribute {@code time} is made of, or null
 * @param producer properties of the producer
 */
record TopicOptions(
        String name, List<String> key, String prefix, String source, String type, String time, Properties producer)
        implements Serializable {

    static final String BEGIN = "topic.";

    private static final String PRODUCER = BEGIN + "properties.";
    private static final ConfigOption<String> NAME = text("name");
    private static final ConfigOption<List<String>> KEY =
            ConfigOptions.key(BEGIN + "key").stringType().asList().defaultValues();
    private static final ConfigOption<String> PREFIX = text("transactional-id-prefix");
    private static final ConfigOption<String> SOURCE = text("source");
    private static final ConfigOption<String> TYPE = text("type");
    private static final ConfigOption<String> TIME = text("time");
    private static final Set<String> KNOWN =
            Set.of(NAME.key(), KEY.key(), PREFIX.key(), SOURCE.key(), TYPE.key(), TIME.key());

    /** What the options say; null where they name no topic. ValidationException for one that is missing or not known. */
    static TopicOptions of(Map<String, String> options) {
        Properties producer = new Properties();
        for (Map.Entry<String, String> option : options.entrySet()) {
            String name = option.getKey();
            if (name.startsWith(PRODUCER)) {
                producer.setProperty(name.substring(PRODUCER.length()), option.getValue());
            } else if (name.startsWith(BEGIN) && !KNOWN.contains(name)) {
                throw new ValidationException("There is no option '" + name + "'.");
            }
        }
        Configuration found = Configuration.fromMap(options);
        if (!found.contains(NAME)) {
            return null;
        }
        for (ConfigOption<?> needed : List.of(PREFIX, SOURCE, TYPE)) {
            if (!found.contains(needed)) {
                throw new ValidationException("With '" + NAME.key() + "' the option '" + needed.key() + "' is needed.");
            }
        }
        return new TopicOptions(
                found.get(NAME),
                found.get(KEY),
                found.get(PREFIX),
                found.get(SOURCE),
                found.get(TYPE),
                found.get(TIME),
                producer);
    }

    /** The options that say nothing of a topic. */
    static Map<String, String> others(Map<String, String> options) {
        return options.entrySet().stream()
                .filter(option -> !option.getKey().startsWith(BEGIN))
                .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, HashMap::new));
    }

    private static ConfigOption<String> text(String name) {
        return ConfigOptions.key(BEGIN + name).stringType().noDefaultValue();
    }
}
