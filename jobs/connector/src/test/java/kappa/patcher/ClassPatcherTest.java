package kappa.patcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import kappa.patcher.ClassPatcher.Replacement;
import org.junit.jupiter.api.Test;

class ClassPatcherTest {

    private static final String OURS = "kappa/patcher/ClassPatcherTest$Ours.";

    @Test
    void aMethodAnswersWithOurs() throws Exception {
        assertEquals("ours 7 2.5 x", answer(new Replacement(
                "method", "of(JDLjava/lang/String;)Ljava/lang/String;", OURS + "of")));
    }

    @Test
    void callsOfAnotherClassBecomeCallsOfOurs() throws Exception {
        assertEquals("theirs 7 2.5 our x", answer(new Replacement(
                "calls",
                "kappa/patcher/ClassPatcherTest$Other.quoted(Ljava/lang/String;)Ljava/lang/String;",
                OURS + "quoted")));
    }

    @Test
    void withoutReplacementsTheClassIsAsBefore() throws Exception {
        assertEquals("theirs 7 2.5 'x'", answer());
    }

    @Test
    void aReplacementThatFindsNothingIsAnError() {
        Replacement missing = new Replacement("method", "of(J)J", OURS + "of");
        Exception caught = assertThrows(IllegalArgumentException.class, () -> answer(missing));
        assertEquals("no static of(J)J in kappa/patcher/ClassPatcherTest$Theirs", caught.getMessage());
    }

    @Test
    void anInstanceMethodIsNotReplaced() {
        Replacement instance = new Replacement("method", "itself()Ljava/lang/String;", OURS + "itself");
        assertThrows(IllegalArgumentException.class, () -> answer(instance));
    }

    private static Object answer(Replacement... replacements) throws Exception {
        byte[] patched = ClassPatcher.patched(compiled(Theirs.class), List.of(replacements));
        return new Loader().define(patched).getMethod("of", long.class, double.class, String.class)
                .invoke(null, 7, 2.5, "x");
    }

    private static byte[] compiled(Class<?> type) throws IOException {
        try (InputStream in = type.getResourceAsStream("/" + type.getName().replace('.', '/') + ".class")) {
            return in.readAllBytes();
        }
    }

    /** Defines a class anew, which its parent also has. */
    private static final class Loader extends ClassLoader {

        Loader() {
            super(ClassPatcherTest.class.getClassLoader());
        }

        Class<?> define(byte[] content) {
            return defineClass(null, content, 0, content.length);
        }
    }

    /** What is patched. */
    public static class Theirs {

        public static String of(long number, double other, String text) {
            return "theirs " + number + " " + other + " " + Other.quoted(text);
        }

        public String itself() {
            return "theirs";
        }
    }

    /** What it calls. */
    public static class Other {

        public static String quoted(String text) {
            return "'" + text + "'";
        }
    }

    /** What takes its place. */
    public static class Ours {

        public static String of(long number, double other, String text) {
            return "ours " + number + " " + other + " " + text;
        }

        public static String quoted(String text) {
            return "our " + text;
        }
    }
}
