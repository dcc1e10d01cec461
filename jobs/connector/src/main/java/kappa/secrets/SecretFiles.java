package kappa.secrets;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Options that say where a secret is instead of the secret: {@code ${directory:FOLDER:FILE}}, as Kafka's
 * DirectoryConfigProvider has it, {@code ${file:PATH}} and {@code ${env:NAME}}.
 *
 * <p>They are resolved where they are used, in the JobManager and the TaskManagers, so that no secret is in a job graph,
 * a plan, or what a REST API shows. Messages name the file, never what is in it.
 */
public final class SecretFiles {

    private static final Pattern REFERENCE =
            Pattern.compile("\\$\\{(?:directory:([^:}]+):([^:}/]+)|file:([^:}]+)|env:([^:}]+))}");

    private SecretFiles() {}

    /** Whether one of the values says where a secret is. */
    public static boolean areIn(Map<String, String> options) {
        return options.values().stream().anyMatch(value -> REFERENCE.matcher(value).find());
    }

    /** The options with what is found there. */
    public static HashMap<String, String> resolve(Map<String, String> options) {
        HashMap<String, String> resolved = new HashMap<>();
        options.forEach((key, value) -> resolved.put(key, resolve(value)));
        return resolved;
    }

    /** The value with what is found there. */
    public static String resolve(String value) {
        return REFERENCE.matcher(value).replaceAll(found -> Matcher.quoteReplacement(find(found)));
    }

    private static String find(MatchResult found) {
        if (found.group(1) != null) {
            return read(Path.of(found.group(1), found.group(2)));
        }
        return found.group(3) != null ? read(Path.of(found.group(3))) : variable(found.group(4));
    }

    private static String variable(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException("The environment variable " + name + " is not set");
        }
        return value;
    }

    /** What a file holds, without white space around it: most editors end a file with a new line. */
    static String read(Path file) {
        try {
            return Files.readString(file).strip();
        } catch (IOException e) {
            throw new UncheckedIOException("The secret file " + file + " cannot be read", e);
        }
    }
}
