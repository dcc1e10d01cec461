package kappa.format;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/** A schema registry on loopback that answers by the Confluent API, or fails as it is told to. */
final class TestRegistry implements AutoCloseable {

    private final Map<String, String> answers = new HashMap<>();
    private final AtomicInteger requests = new AtomicInteger();
    private final int port;
    private HttpServer server;
    private int failingRequests;
    private String failure;
    private int failureStatus;

    TestRegistry() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        port = server.getAddress().getPort();
        serve();
    }

    String url() {
        return "http://127.0.0.1:" + port;
    }

    int requests() {
        return requests.get();
    }

    TestRegistry knows(int id, String schema) {
        return answers("/schemas/ids/" + id, "{\"schema\": " + quoted(schema) + "}");
    }

    TestRegistry answers(String path, String body) {
        answers.put(path, body);
        return this;
    }

    /** The next requests get this answer instead. */
    void fail(int times, int status, String body) {
        failingRequests = times;
        failureStatus = status;
        failure = body;
    }

    void goDown() {
        server.stop(0);
    }

    void comeBack() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        serve();
    }

    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
    }

    private void serve() {
        server.createContext("/", this::answer);
        server.start();
    }

    private void answer(HttpExchange exchange) throws IOException {
        requests.incrementAndGet();
        String known = answers.get(exchange.getRequestURI().getPath());
        if (failingRequests > 0) {
            failingRequests--;
            send(exchange, failureStatus, failure);
        } else if (known != null) {
            send(exchange, 200, known);
        } else {
            send(exchange, 404, "{\"error_code\": 40403, \"message\": \"Schema not found\"}");
        }
    }

    private static void send(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().add("Content-Type", "application/vnd.schemaregistry.v1+json");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
