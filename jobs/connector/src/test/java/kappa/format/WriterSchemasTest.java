package kappa.format;

import static kappa.format.Fixtures.FLIGHT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class WriterSchemasTest {

    private TestRegistry registry;
    private ManualClock clock;
    private WriterSchemas schemas;

    @BeforeEach
    void start() throws IOException {
        registry = new TestRegistry();
        clock = new ManualClock();
        schemas = new WriterSchemas(settings(registry.url(), Map.of()), clock);
    }

    @AfterEach
    void stop() {
        registry.close();
    }

    @Test
    void anUnknownIdIsAskedForAgainAfterItsTime() throws IOException {
        assertUndecodable("schema id 7 is unknown to the registry");
        clock.pass(Duration.ofMillis(9_999));
        assertUndecodable("schema id 7 is unknown to the registry");
        assertEquals(1, registry.requests());
        clock.pass(Duration.ofMillis(1));
        registry.knows(7, FLIGHT);
        assertEquals("Flight", schemas.get(7).getName());
        assertEquals(2, registry.requests());
    }

    @Test
    void pausesGrowUntilTheTimeoutAndEndExactlyThere() {
        registry.goDown();
        assertThrows(IOException.class, () -> schemas.get(7));
        assertEquals(
                List.of(100L, 200L, 400L, 800L, 1600L, 3200L, 5000L),
                clock.sleeps.subList(0, 7).stream().map(Duration::toMillis).toList());
        assertEquals(Duration.ofSeconds(60), clock.sleeps.stream().reduce(Duration.ZERO, Duration::plus));
    }

    @Test
    void aRegistryThatComesBackIsNoticed() throws IOException {
        registry.knows(7, FLIGHT).goDown();
        clock.onSleep = () -> {
            if (clock.sleeps.size() == 3) {
                registry.comeBack();
            }
        };
        assertEquals("Flight", schemas.get(7).getName());
        assertEquals(3, clock.sleeps.size());
    }

    @Test
    void aBare404IsAWrongUrlAndNoReasonToRejectARecord() {
        registry.fail(1_000, 404, "<html>no such page</html>");
        IOException wrong = assertThrows(IOException.class, () -> schemas.get(7));
        assertFalse(wrong instanceof UndecodableException);
        registry.fail(1_000, 404, "{\"error_code\": 404, \"message\": \"HTTP 404 Not Found\"}");
        assertFalse(assertThrows(IOException.class, () -> schemas.get(7)) instanceof UndecodableException);
    }

    @Test
    void refusedCredentialsAreNoReasonToRejectARecord() {
        registry.fail(1_000, 401, "{\"error_code\": 40101, \"message\": \"Unauthorized\"}");
        assertFalse(assertThrows(IOException.class, () -> schemas.get(7)) instanceof UndecodableException);
    }

    @Test
    void aSchemaOfAnotherKindIsUndecodable() {
        registry.answers("/schemas/ids/7", "{\"schemaType\": \"PROTOBUF\", \"schema\": \"message M {}\"}");
        assertUndecodable("schema id 7 is PROTOBUF, not AVRO");
        assertUndecodable("schema id 7 is PROTOBUF, not AVRO");
        assertEquals(1, registry.requests());
    }

    @Test
    void aSchemaThatIsNotAvroIsUndecodable() {
        registry.knows(7, "{\"type\": \"nonsense\"}");
        UndecodableException e = assertThrows(UndecodableException.class, () -> schemas.get(7));
        assertTrue(e.getMessage().startsWith("schema id 7 is not valid Avro: "), e.getMessage());
    }

    @Test
    void referencedSchemasAreFetched() throws IOException {
        String outer =
                """
                {"type": "record", "name": "Outer", "fields": [
                  {"name": "flight", "type": "Flight"}, {"name": "next", "type": "Flight"}]}
                """;
        String inner = TestRegistry.quoted(FLIGHT);
        registry.answers(
                        "/schemas/ids/7",
                        "{\"schema\": " + TestRegistry.quoted(outer)
                                + ", \"references\": [{\"name\": \"Flight\", \"subject\": \"f\", \"version\": 2}]}")
                .answers("/subjects/f/versions/2", "{\"subject\": \"f\", \"version\": 2, \"schema\": " + inner + "}");
        assertEquals("Flight", schemas.get(7).getField("next").schema().getName());
    }

    @Test
    void anInterruptEndsTheWait() {
        registry.goDown();
        clock.onSleep = () -> {
            throw new InterruptedException();
        };
        assertThrows(InterruptedIOException.class, () -> schemas.get(7));
        assertTrue(Thread.interrupted(), "the flag is kept for Flink");
    }

    @Test
    void aPasswordInTheUrlIsNotShown() {
        registry.goDown();
        String url = registry.url().replace("//", "//user:secret@");
        WriterSchemas protectedSchemas = new WriterSchemas(settings(url, Map.of()), clock);
        IOException down = assertThrows(IOException.class, () -> protectedSchemas.get(7));
        assertFalse(down.getMessage().contains("secret"), down.getMessage());
    }

    private static WriterSchemas.Settings settings(String url, Map<String, String> properties) {
        return new WriterSchemas.Settings(url, new HashMap<>(properties), Duration.ofSeconds(10), Duration.ofSeconds(60));
    }

    private void assertUndecodable(String reason) {
        assertEquals(reason, assertThrows(UndecodableException.class, () -> schemas.get(7)).getMessage());
    }

    private interface Action {
        void run() throws InterruptedException, IOException;
    }

    private static final class ManualClock implements WriterSchemas.Clock {
        private final List<Duration> sleeps = new ArrayList<>();
        private Duration now = Duration.ofDays(1);
        private Action onSleep = () -> {};

        void pass(Duration duration) {
            now = now.plus(duration);
        }

        @Override
        public long nanoTime() {
            return now.toNanos();
        }

        @Override
        public void sleep(Duration duration) throws InterruptedException {
            sleeps.add(duration);
            pass(duration);
            try {
                onSleep.run();
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }
    }
}
