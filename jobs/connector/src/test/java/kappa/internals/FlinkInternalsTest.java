package kappa.internals;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import kappa.internals.Internals.Internal;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Flink still has every internal that the connector relies on: those are in {@code internals.txt}.
 *
 * <p>It names Flink's classes only in texts, so that it also runs beside a Flink that the connector does not compile
 * with: {@code make next-flink}.
 */
class FlinkInternalsTest {

    /** Of Flink's patched classes, one on a line: its name and the SHA-256 of the class file. */
    private static final String PATCHED = System.getProperty("kappa.patched", "");

    @TestFactory
    Stream<DynamicTest> flinkHasWhatTheConnectorReliesOn() throws IOException {
        return listed().stream()
                .map(line -> DynamicTest.dynamicTest(line, () -> assertNone(missing(Internal.parse(line)))));
    }

    @TestFactory
    Stream<DynamicTest> eachPatchedClassIsTheOneThatItsPatchWasMadeFor() {
        return PATCHED.lines().map(line -> line.split(" "))
                .map(of -> DynamicTest.dynamicTest(of[0], () -> assertNone(changed(of[0], of[1]))));
    }

    @Test
    void flinkWritesSplitsInTheVersionThatTheConnectorBuildsOn() throws Exception {
        Object serializer = Class.forName("org.apache.flink.connector.kafka.source.split.KafkaPartitionSplitSerializer")
                .getConstructor().newInstance();
        assertEquals(0, serializer.getClass().getMethod("getVersion").invoke(serializer),
                "KafkaPartitionSplitSerializer writes another version, on which LogSplitSerializer relies");
    }

    @Test
    void everyInternalThatTheConnectorReliesOnIsListed() throws IOException {
        List<String> found = Internals.ofTheConnector();
        assumeTrue(found != null, "the connector does not compile with this Flink");
        List<String> listed = listed();
        String missing = found.stream().filter(line -> !listed.contains(line)).collect(Collectors.joining("\n"));
        String gone = listed.stream().filter(line -> !found.contains(line)).collect(Collectors.joining("\n"));
        assertEquals("", missing, "internals.txt lacks what the connector relies on: add these lines");
        assertEquals("", gone, "internals.txt has what the connector does not rely on any more: remove these lines");
    }

    @Test
    void noClassOfTheConnectorHidesOneOfFlinks() throws IOException {
        for (String name : Internals.inPackagesOfFlink()) {
            List<URL> there = Collections.list(getClass().getClassLoader().getResources(name));
            assertEquals(1, there.size(), () -> name + " is a class of the connector and one of Flink's: " + there);
        }
    }

    @Test
    void whatIsMissingIsSaidInASentence() throws Exception {
        String type = "org.apache.flink.util.SimpleUserCodeClassLoader";
        assertEquals(
                type + " has no create(int): Gone, on which Versions relies. It has create(ClassLoader): "
                        + "SimpleUserCodeClassLoader.",
                missing(Internal.parse(type + "  create(int): Gone  <- Versions")));
        assertEquals(
                "There is no class org.apache.flink.Gone, on which A, B relies.",
                missing(Internal.parse("org.apache.flink.Gone  <- A, B")));
        assertEquals(
                "There is no class org/apache/flink/Gone, which local/patches.py changes.",
                changed("org/apache/flink/Gone", "0"));
        String patched = "org/apache/flink/table/runtime/util/TimeWindowUtil";
        String said = changed(patched, "0");
        assertTrue(said.startsWith(patched + " is another class than the one that its patch in local/patches.py was made"
                + " for: SHA-256 ") && said.endsWith(", not 0."), said);
    }

    private static void assertNone(String problem) {
        if (problem != null) {
            fail(problem);
        }
    }

    private static List<String> listed() throws IOException {
        try (InputStream in = FlinkInternalsTest.class.getResourceAsStream("internals.txt");
                BufferedReader reader = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
            return reader.lines().toList();
        }
    }

    /** What is missing, in a sentence; null for nothing. */
    private static String missing(Internal internal) {
        try {
            Class<?> type = Class.forName(internal.type(), false, FlinkInternalsTest.class.getClassLoader());
            if (internal.member().isEmpty()) {
                return null;
            }
            String wanted = internal.member().replaceFirst("^overridden ", "");
            Set<String> members = members(type);
            // A member that has become more visible than it was is one that can be relied on.
            boolean isThere = members.contains(wanted)
                    || members.contains(wanted.replaceFirst("^package-private |^protected ", ""))
                    || members.contains(wanted.replaceFirst("^package-private ", "protected "));
            return isThere ? null
                    : String.format("%s has no %s, on which %s relies.%s",
                            internal.type(), internal.member(), internal.users(), alike(wanted, members));
        } catch (ClassNotFoundException e) {
            return String.format("There is no class %s, on which %s relies.", internal.type(), internal.users());
        } catch (LinkageError e) {
            return String.format("%s cannot be loaded, on which %s relies: %s", internal.type(), internal.users(), e);
        }
    }

    /** The members of a class and of those above it, as the list has them. */
    private static Set<String> members(Class<?> type) {
        Set<String> members = new LinkedHashSet<>();
        for (Constructor<?> constructor : type.getDeclaredConstructors()) {
            members.add(visibility(constructor.getModifiers()) + "new" + parameters(constructor.getParameterTypes()));
        }
        List<Class<?>> waiting = new ArrayList<>(List.of(type));
        while (!waiting.isEmpty()) {
            Class<?> next = waiting.remove(0);
            for (Method method : next.getDeclaredMethods()) {
                members.add(visibility(method.getModifiers()) + method.getName() + parameters(method.getParameterTypes())
                        + ": " + method.getReturnType().getSimpleName());
            }
            for (Field field : next.getDeclaredFields()) {
                members.add(visibility(field.getModifiers()) + field.getName() + ": " + field.getType().getSimpleName());
                members.add(field.getName() + ": " + field.getType().getSimpleName()); // reflection sees private ones
            }
            waiting.addAll(Arrays.asList(next.getInterfaces()));
            if (next.getSuperclass() != null) {
                waiting.add(next.getSuperclass());
            }
        }
        return members;
    }

    private static String visibility(int modifiers) {
        if (java.lang.reflect.Modifier.isPublic(modifiers)) {
            return "";
        }
        if (java.lang.reflect.Modifier.isProtected(modifiers)) {
            return "protected ";
        }
        return java.lang.reflect.Modifier.isPrivate(modifiers) ? "private " : "package-private ";
    }

    private static String parameters(Class<?>[] types) {
        return Arrays.stream(types).map(Class::getSimpleName).collect(Collectors.joining(", ", "(", ")"));
    }

    /** Members of the same name: what may have become of one. */
    private static String alike(String wanted, Set<String> members) {
        String name = name(wanted);
        List<String> alike = members.stream().filter(member -> name(member).equals(name)).toList();
        return alike.isEmpty() ? "" : " It has " + String.join(", and ", alike) + ".";
    }

    private static String name(String member) {
        return member.replaceFirst("^(package-private|protected|private) ", "").replaceFirst("[(:].*", "");
    }

    /** Whether a class that is patched is another one, in a sentence; null if it is not. */
    private static String changed(String type, String expected) throws Exception {
        // The patched class may come first.
        List<URL> there = Collections.list(FlinkInternalsTest.class.getClassLoader().getResources(type + ".class"));
        if (there.isEmpty()) {
            return "There is no class " + type + ", which local/patches.py changes.";
        }
        try (InputStream in = there.get(there.size() - 1).openStream()) {
            String found = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(in.readAllBytes()));
            return found.equals(expected) ? null
                    : String.format("%s is another class than the one that its patch in local/patches.py was made for:"
                            + " SHA-256 %s, not %s.", type, found, expected);
        }
    }
}
