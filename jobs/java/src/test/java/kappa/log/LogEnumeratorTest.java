package kappa.log;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.connector.kafka.source.enumerator.KafkaSourceEnumState;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.junit.jupiter.api.Test;

class LogEnumeratorTest {

    private final List<String> called = new ArrayList<>();
    private final List<Boolean> backlog = new ArrayList<>();

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

    @SuppressWarnings("unchecked")
    private LogEnumerator enumerator(int readers) {
        SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState> kafka =
                (SplitEnumerator<KafkaPartitionSplit, KafkaSourceEnumState>)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {SplitEnumerator.class},
                                (proxy, method, arguments) -> {
                                    called.add(method.getName());
                                    return null;
                                });
        SplitEnumeratorContext<KafkaPartitionSplit> context =
                (SplitEnumeratorContext<KafkaPartitionSplit>)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {SplitEnumeratorContext.class},
                                (proxy, method, arguments) ->
                                        switch (method.getName()) {
                                            case "currentParallelism" -> readers;
                                            case "setIsProcessingBacklog" -> {
                                                backlog.add((Boolean) arguments[0]);
                                                yield null;
                                            }
                                            default -> throw new AssertionError(method.getName());
                                        });
        return new LogEnumerator(kafka, context);
    }
}
