package kappa.secrets;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.config.ConfigData;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.config.provider.ConfigProvider;

/**
 * Tells a Kafka client what {@code ${file:PATH}} is: all that the file holds.
 *
 * <p>Kafka's own provider of files reads properties of them, and the one of directories keeps the new line at the end.
 */
public final class FileProvider implements ConfigProvider {

    @Override
    public void configure(Map<String, ?> options) {}

    @Override
    public ConfigData get(String path) {
        return new ConfigData(Map.of());
    }

    @Override
    public ConfigData get(String path, Set<String> files) {
        Map<String, String> found = new HashMap<>();
        files.forEach(file -> found.put(file, SecretFiles.read(Path.of(file))));
        return new ConfigData(found);
    }

    @Override
    public void close() {}
}
