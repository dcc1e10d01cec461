package kappa.format;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.Serializable;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import kappa.secrets.SecretFiles;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.RestService;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.entities.SchemaReference;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.entities.SchemaString;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;
import org.apache.flink.avro.shaded.org.apache.avro.AvroRuntimeException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The schemas that records were written with, from the registry.
 *
 * <p>Three answers, told apart by type: a schema; {@link UndecodableException}, the registry answered and there is no
 * such Avro schema (remembered for a while, so that garbage does not ask once per record); any other IOException, the
 * registry could not be asked for longer than the timeout.
 */
final class WriterSchemas implements SchemasById {

    private static final Logger LOG = LoggerFactory.getLogger(WriterSchemas.class);
    private static final Duration FIRST_PAUSE = Duration.ofMillis(100);
    private static final Duration LONGEST_PAUSE = Duration.ofSeconds(5);
    private static final int MAX_UNKNOWN = 10_000;

    /** Where the registry is, how to talk to it, and how patiently. */
    record Settings(String url, HashMap<String, String> properties, Duration unknownTtl, Duration timeout)
            implements Serializable {}

    /** Time, replaced in tests. */
    interface Clock {
        long nanoTime();

        void sleep(Duration duration) throws InterruptedException;
    }

    private record Unknown(String reason, long until) {}

    private final Settings settings;
    private final Clock clock;
    private final RestService registry;
    private final String address;
    private final Map<Integer, Unknown> unknown =
            new LinkedHashMap<>() {
                private static final long serialVersionUID = 1L;

                @Override
                protected boolean removeEldestEntry(Map.Entry<Integer, Unknown> eldest) {
                    return size() > MAX_UNKNOWN;
                }
            };

    WriterSchemas(Settings settings) {
        this(settings, new SystemClock());
    }

    WriterSchemas(Settings settings, Clock clock) {
        this.settings = settings;
        this.clock = clock;
        this.registry = connect(settings);
        this.address = SecretFiles.resolve(settings.url).replaceAll("//[^/@]*@", "//"); // for people to read: without a password
    }

    /** The schema of an id; the caller keeps it, as an id never changes its meaning. */
    @Override
    public Schema get(int id) throws IOException {
        Unknown known = unknown.get(id);
        if (known != null && clock.nanoTime() - known.until < 0) {
            throw new UndecodableException(known.reason);
        }
        try {
            Schema schema = askPatiently(id);
            unknown.remove(id);
            return schema;
        } catch (UndecodableException e) {
            unknown.remove(id); // so that it is put in as the youngest
            unknown.put(id, new Unknown(e.getMessage(), clock.nanoTime() + settings.unknownTtl.toNanos()));
            throw e;
        }
    }

    private Schema askPatiently(int id) throws IOException {
        long deadline = clock.nanoTime() + settings.timeout.toNanos();
        Duration pause = FIRST_PAUSE;
        while (true) {
            Exception failure;
            try {
                return ask(id);
            } catch (UndecodableException e) {
                throw e;
            } catch (RestClientException | IOException e) {
                failure = e;
            }
            Duration left = Duration.ofNanos(deadline - clock.nanoTime());
            if (left.isNegative() || left.isZero()) {
                throw new IOException(
                        String.format(
                                "Schema registry %s gave no schema for id %d within %s s",
                                address, id, settings.timeout.toMillis() / 1000.0),
                        failure);
            }
            pause = pause.compareTo(left) < 0 ? pause : left;
            LOG.warn("Schema registry {} does not answer, asking again in {}: {}", address, pause, failure.toString());
            sleep(pause);
            pause = pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
        }
    }

    private Schema ask(int id) throws IOException, RestClientException {
        try {
            SchemaString found = registry.getId(id);
            String type = found.getSchemaType();
            if (type != null && !type.equals("AVRO")) {
                throw new UndecodableException("schema id " + id + " is " + type + ", not AVRO");
            }
            Schema.Parser parser = new Schema.Parser().setValidateDefaults(false); // the registry checked them
            parseReferences(found.getReferences(), parser);
            return parser.parse(found.getSchemaString());
        } catch (RestClientException e) {
            if (isNotFound(e)) {
                throw new UndecodableException("schema id " + id + " is unknown to the registry");
            }
            throw e;
        } catch (AvroRuntimeException e) {
            throw new UndecodableException("schema id " + id + " is not valid Avro: " + e.getMessage());
        } catch (StackOverflowError e) {
            throw new UndecodableException("schema id " + id + " is not valid Avro: its types are nested too deep");
        }
    }

    private void parseReferences(List<SchemaReference> references, Schema.Parser parser)
            throws IOException, RestClientException {
        for (SchemaReference reference : references == null ? List.<SchemaReference>of() : references) {
            if (!parser.getTypes().containsKey(reference.getName())) {
                var schema = registry.getVersion(reference.getSubject(), reference.getVersion());
                parseReferences(schema.getReferences(), parser);
                parser.parse(schema.getSchema());
            }
        }
    }

    /**
     * Whether the registry itself says that there is no such schema (error codes 404xx). A bare 404 comes from a wrong
     * URL or a proxy, and must not turn the whole log into rejects.
     */
    private static boolean isNotFound(RestClientException e) {
        return e.getStatus() == 404 && e.getErrorCode() / 100 == 404;
    }

    private void sleep(Duration duration) throws InterruptedIOException {
        try {
            clock.sleep(duration);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while the schema registry was down");
        }
    }

    /** As the client configures it (TLS, authentication), but without its own caches and retries. */
    @SuppressWarnings("resource") // closing the client would close the service
    private static RestService connect(Settings settings) {
        Map<String, Object> properties = new HashMap<>();
        properties.put("schema.registry.http.connect.timeout.ms", 5_000); // a minute by default
        properties.put("schema.registry.http.read.timeout.ms", 10_000);
        properties.putAll(SecretFiles.resolve(settings.properties));
        RestService service = new RestService(SecretFiles.resolve(settings.url));
        new CachedSchemaRegistryClient(service, 1, properties); // its constructor configures the service
        return service;
    }

    private static final class SystemClock implements Clock {
        @Override
        public long nanoTime() {
            return System.nanoTime();
        }

        @Override
        public void sleep(Duration duration) throws InterruptedException {
            Thread.sleep(duration.toMillis());
        }
    }
}
