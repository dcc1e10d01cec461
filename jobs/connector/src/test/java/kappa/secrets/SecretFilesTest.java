package kappa.secrets;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.config.provider.DirectoryConfigProvider;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.config.provider.EnvVarConfigProvider;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SecretFilesTest {

    @TempDir Path folder;

    private String reference(String name) {
        return "${directory:" + folder + ":" + name + "}";
    }

    @Test
    void whatAFileHoldsTakesThePlaceOfItsName() throws IOException {
        Files.writeString(folder.resolve("registry.user"), "us$er:pa\\1ss\n");
        assertEquals(
                "http://us$er:pa\\1ss@host/v1", SecretFiles.resolve("http://" + reference("registry.user") + "@host/v1"));
        Map<String, String> options = Map.of("a", "plain", "b", reference("registry.user"));
        assertTrue(SecretFiles.areIn(options));
        assertEquals(Map.of("a", "plain", "b", "us$er:pa\\1ss"), SecretFiles.resolve(options));
        assertFalse(SecretFiles.areIn(Map.of("a", "plain")));
    }

    @Test
    void aSecretIsAtAPathOrInAVariableToo() throws IOException {
        Path file = Files.writeString(folder.resolve("token"), "canary\n");
        assertEquals("canary", SecretFiles.resolve("${file:" + file + "}"));
        assertEquals(System.getenv("PATH"), SecretFiles.resolve("${env:PATH}"));
        assertTrue(SecretFiles.areIn(Map.of("a", "${env:PATH}")));
        assertEquals("${file:a:b}", SecretFiles.resolve("${file:a:b}"));
        String message =
                assertThrows(IllegalStateException.class, () -> SecretFiles.resolve("${env:NONE_SUCH}")).getMessage();
        assertEquals("The environment variable NONE_SUCH is not set", message);
    }

    @Test
    void aFileThatIsMissingIsNamed() {
        String message =
                assertThrows(UncheckedIOException.class, () -> SecretFiles.resolve(reference("gone"))).getMessage();
        assertTrue(message.contains(folder.resolve("gone").toString()), message);
    }

    /** What the controller writes for Kafka's clients is what they understand. */
    @Test
    void kafkasClientsReadTheSameFiles() throws IOException {
        Files.writeString(folder.resolve("kafka.sasl.jaas.config"), "canary");
        Path file = Files.writeString(folder.resolve("key"), "canary two\n");
        Properties properties = new Properties();
        properties.put("config.providers.file.class", FileProvider.class.getName());
        properties.put("config.providers.env.class", EnvVarConfigProvider.class.getName());
        properties.put("ssl.key.password", "${file:" + file + "}");
        properties.put("ssl.keystore.password", "${env:PATH}");
        properties.put("bootstrap.servers", "127.0.0.1:1");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("config.providers", "directory,file,env");
        properties.put("config.providers.directory.class", DirectoryConfigProvider.class.getName());
        properties.put("sasl.jaas.config", reference("kafka.sasl.jaas.config"));
        ConsumerConfig found = new ConsumerConfig(properties);
        assertEquals("canary", found.getPassword("sasl.jaas.config").value());
        assertEquals("canary two", found.getPassword("ssl.key.password").value());
        assertEquals(System.getenv("PATH"), found.getPassword("ssl.keystore.password").value());
    }
}
