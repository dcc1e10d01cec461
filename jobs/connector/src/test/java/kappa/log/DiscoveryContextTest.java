package kappa.log;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.reflect.Proxy;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import org.apache.flink.api.connector.source.ReaderInfo;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit;
import org.junit.jupiter.api.Test;

class DiscoveryContextTest {

    private final List<Integer> told = new ArrayList<>();
    private final Map<Integer, ReaderInfo> readers = new TreeMap<>();
    private final Queue<BiConsumer<Object, Throwable>> asked = new ArrayDeque<>();
    private final DiscoveryContext context = new DiscoveryContext(flinks());

    @Test
    void nobodyIsToldBeforeTheBrokerHasAnswered() {
        context.callAsync(() -> 1, (answer, error) -> {});
        register(0);
        assertEquals(List.of(), told);
        answer();
        assertEquals(List.of(0), told);
    }

    @Test
    void whatFollowsFromAnAnswerIsWaitedFor() {
        register(0);
        context.callAsync(() -> 1, (answer, error) -> context.callAsync(() -> 2, (further, e) -> {}));
        answer();
        assertEquals(List.of(), told, "new partitions are being looked up");
        answer();
        assertEquals(List.of(0), told);
    }

    @Test
    void whoWasToldByKafkasIsNotToldAgain() {
        register(0);
        context.callAsync(() -> 1, (answer, error) -> context.signalNoMoreSplits(0));
        answer();
        assertEquals(List.of(0), told);
        context.signalNoMoreSplits(0);
        assertEquals(List.of(0), told);
    }

    @Test
    void aReaderThatWasLostIsToldAgainOnceItIsBack() {
        context.callAsync(() -> 1, (answer, error) -> {});
        answer();
        register(1);
        register(1);
        assertEquals(List.of(1, 1), told);
    }

    @Test
    void anAnswerThatFailsTheEnumeratorTellsNobody() {
        register(0);
        context.callAsync(
                () -> 1,
                (answer, error) -> {
                    throw new IllegalStateException("no broker");
                });
        assertThrows(IllegalStateException.class, this::answer);
        assertEquals(List.of(), told);
    }

    private void register(int subtask) {
        readers.put(subtask, new ReaderInfo(subtask, "localhost"));
        context.registers(subtask);
        context.hasRegistered(subtask);
    }

    private void answer() {
        asked.remove().accept(null, null);
    }

    @SuppressWarnings("unchecked")
    private SplitEnumeratorContext<KafkaPartitionSplit> flinks() {
        return (SplitEnumeratorContext<KafkaPartitionSplit>)
                Proxy.newProxyInstance(
                        getClass().getClassLoader(),
                        new Class<?>[] {SplitEnumeratorContext.class},
                        (proxy, method, arguments) -> {
                            switch (method.getName()) {
                                case "signalNoMoreSplits" -> told.add((Integer) arguments[0]);
                                case "callAsync" -> asked.add((BiConsumer<Object, Throwable>) arguments[1]);
                                case "registeredReaders" -> {
                                    return readers;
                                }
                                default -> throw new AssertionError(method.getName());
                            }
                            return null;
                        });
    }
}
