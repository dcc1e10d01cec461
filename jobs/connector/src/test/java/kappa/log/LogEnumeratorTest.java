package kappa.log;

import static kappa.log.Fixtures.ZERO;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.UncheckedIOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.BiConsumer;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LogEnumeratorTest {

    private final List<String> called = new ArrayList<>();
    private final List<Boolean> backlog = new ArrayList<>();
    private final List<Integer> told = new ArrayList<>();

    @TempDir private Path checkpoints;

    @Test
    void aBacklogIsWorkedOffUntilEveryReaderHasCaughtUp() {
        LogEnumerator enumerator = enumerator(2);
        enumerator.start();
        enumerator.handleSourceEvent(1, new CaughtUp());
        enumerator.handleSourceEvent(1, new CaughtUp());
        assertEquals(List.of(true), backlog);
        enumerator.handleSourceEvent(0, new CaughtUp());
        assertEquals(List.of(true, false), backlog);
    }

    @Test
    void aReaderThatRestartsByItselfBringsNoBacklogBack() {
        LogEnumerator enumerator = enumerator(1);
        enumerator.start();
        enumerator.handleSourceEvent(0, new CaughtUp());
        enumerator.addReader(0);
        enumerator.handleSourceEvent(0, new CaughtUp());
        assertEquals(List.of(true, false), backlog);
    }

    @Test
    void whatEndsSaysNothingOfABacklog() {
        LogEnumerator enumerator = enumerator(1, true, null);
        enumerator.start();
        enumerator.handleSourceEvent(0, new CaughtUp());
        assertEquals(List.of(), backlog);
    }

    @Test
    void readersOfARestoredSourceThatEndsAreToldSoOnceForEachRegistration() {
        LogEnumerator enumerator = enumerator(2, true, null);
        enumerator.start(); // Kafka's has asked for the partitions, and is told of none that it does not know
        assertEquals(List.of(0), told);
        enumerator.addReader(1);
        assertEquals(List.of(0, 1), told);
        enumerator.addReader(1); // after it was lost
        assertEquals(List.of(0, 1, 1), told);
    }

    @Test
    void thePositionOfACheckpointIsWrittenOnceItIsComplete() throws Exception {
        LogEnumerator enumerator = enumerator(1, false, new PositionFiles(checkpoints.toUri().toString(), "job", "op"));
        Path folder = checkpoints.resolve("job/positions/op");
        enumerator.start();
        assertEquals(true, Files.exists(folder.resolve("source")));
        enumerator.snapshotState(7);
        enumerator.handleSourceEvent(0, new Positions(7, Map.of(ZERO, new Stand(5, 6))));
        assertFalse(Files.exists(folder.resolve("7")));
        enumerator.notifyCheckpointComplete(7);
        assertEquals("{\"log\": {\"0\": [5, 6]}}\n", Files.readString(folder.resolve("7")));
    }

    @Test
    void aPositionThatCannotBeWrittenDoesNotDisturbTheJob() throws Exception {
        LogEnumerator enumerator = enumerator(1, false, new PositionFiles(checkpoints.toUri().toString(), "job", "op"));
        enumerator.start();
        Files.createDirectory(checkpoints.resolve("job/positions/op/7")); // in its place
        enumerator.snapshotState(7);
        enumerator.handleSourceEvent(0, new Positions(7, Map.of(ZERO, new Stand(5, 6))));
        enumerator.notifyCheckpointComplete(7);
        enumerator.snapshotState(8);
        enumerator.handleSourceEvent(0, new Positions(8, Map.of(ZERO, new Stand(7, 7))));
        enumerator.notifyCheckpointComplete(8);
        assertEquals(true, Files.exists(checkpoints.resolve("job/positions/op/8")));
    }

    @Test
    void withoutAPlaceForPositionsAJobDoesNotBegin() throws Exception {
        Files.createFile(checkpoints.resolve("job")); // no folder
        LogEnumerator enumerator = enumerator(1, false, new PositionFiles(checkpoints.toUri().toString(), "job", "op"));
        assertThrows(UncheckedIOException.class, enumerator::start);
    }

    @Test
    void everythingElseIsKafkas() throws Exception {
        LogEnumerator enumerator = enumerator(1);
        enumerator.start();
        enumerator.handleSourceEvent(0, new Other());
        enumerator.handleSplitRequest(0, "localhost");
        enumerator.addSplitsBack(List.of(), 0);
        enumerator.addReader(0);
        enumerator.snapshotState(1);
        enumerator.notifyCheckpointComplete(1);
        enumerator.notifyCheckpointAborted(2);
        enumerator.close();
        assertEquals(
                List.of(
                        "start", "handleSourceEvent", "handleSplitRequest", "addSplitsBack", "addReader",
                        "snapshotState", "notifyCheckpointComplete", "notifyCheckpointAborted", "close"),
                called);
    }

    private record Other() implements SourceEvent {

        private static final long serialVersionUID = 1L;
    }

    private LogEnumerator enumerator(int readers) {
        return enumerator(readers, false, null);
    }

    @SuppressWarnings("unchecked")
    private LogEnumerator enumerator(int readers, boolean bounded, PositionFiles files) {
        SplitEnumeratorContext<KafkaPartitionSplit> context =
                (SplitEnumeratorContext<KafkaPartitionSplit>)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {SplitEnumeratorContext.class},
                                (proxy, method, arguments) ->
                                        switch (method.getName()) {
                                            case "currentParallelism" -> readers;
                                            case "registeredReaders" -> Map.of(0, "reader");
                                            case "setIsProcessingBacklog" -> {
                                                backlog.add((Boolean) arguments[0]);
                                                yield null;
                                            }
                                            case "signalNoMoreSplits" -> {
                                                told.add((Integer) arguments[0]);
                                                yield null;
                                            }
                                            case "callAsync" -> {
                                                call((Callable<Object>) arguments[0], (BiConsumer<Object, Throwable>) arguments[1]);
                                                yield null;
                                            }
                                            default -> throw new AssertionError(method.getName());
                                        });
        DiscoveryContext discovery = bounded ? new DiscoveryContext(context) : null;
        SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> kafka =
                (SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState>)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {SplitEnumerator.class},
                                (proxy, method, arguments) -> {
                                    called.add(method.getName());
                                    if (discovery != null && method.getName().equals("start")) {
                                        discovery.callAsync(() -> 1, (answer, error) -> {});
                                    }
                                    return method.getName().equals("snapshotState")
                                            ? new KafkaSourceEnumState(Set.of(ZERO), Set.of(), true)
                                            : null;
                                });
        return new LogEnumerator(kafka, context, discovery, Map.of(), files);
    }

    private static void call(Callable<Object> work, BiConsumer<Object, Throwable> then) {
        Object done = null;
        Throwable failure = null;
        try {
            done = work.call();
        } catch (Exception e) {
            failure = e;
        }
        then.accept(done, failure);
    }
}
