package kappa.log;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.util.Collections;
import java.util.List;
import org.apache.flink.table.runtime.util.TimeWindowUtil;
import org.junit.jupiter.api.Test;

class FlinkPatchesTest {

    @Test
    void aPatchedFlinkIsTaken() {
        assertDoesNotThrow(FlinkPatches::require);
    }

    @Test
    void aFlinkWithoutThePatchesIsRefused() throws Exception {
        ClassLoader unpatched = new Unpatched();
        Method require = unpatched.loadClass(FlinkPatches.class.getName()).getDeclaredMethod("require");
        require.setAccessible(true);
        Throwable caught = assertThrows(InvocationTargetException.class, () -> require.invoke(null)).getCause();
        assertEquals(
                "windows lose rows on this Flink (FLINK-38075, FLINK-36664): 00-flink-patches.jar, which kappa up builds,"
                        + " must be in lib/ of every TaskManager",
                caught.getMessage());
    }

    /** Has Flink's own class, the last on the class path, in the place of the patched one. */
    private static final class Unpatched extends ClassLoader {

        Unpatched() throws IOException {
            super(FlinkPatchesTest.class.getClassLoader());
            for (Class<?> type : List.of(TimeWindowUtil.class, FlinkPatches.class)) {
                List<URL> found = Collections.list(
                        getParent().getResources(type.getName().replace('.', '/') + ".class"));
                try (InputStream last = found.get(found.size() - 1).openStream()) {
                    byte[] content = last.readAllBytes();
                    defineClass(type.getName(), content, 0, content.length);
                }
            }
        }
    }
}
