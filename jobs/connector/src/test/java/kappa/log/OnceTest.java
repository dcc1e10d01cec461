package kappa.log;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import org.apache.flink.api.common.eventtime.NoWatermarksGenerator;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.runtime.generated.GeneratedWatermarkGenerator;
import org.apache.flink.table.runtime.generated.GeneratedWatermarkGeneratorSupplier;
import org.apache.flink.table.watermark.WatermarkEmitStrategy;
import org.apache.flink.table.watermark.WatermarkParams;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class OnceTest {

    /** As the planner makes it of WATERMARK FOR t AS t: the second column in minutes. */
    private static final String GENERATED =
            """
            public class Minutes extends org.apache.flink.table.runtime.generated.WatermarkGenerator {
              public Minutes(Object[] references) {}
              public void open(org.apache.flink.api.common.functions.OpenContext context) {}
              public Long currentWatermark(org.apache.flink.table.data.RowData row) {
                return row.isNullAt(1) ? null : Long.valueOf(row.getLong(1) * 60000L);
              }
              public void close() {}
            }
            """;

    @Test
    void theTimeIsThatOfTheRowAndNotTheGreatestOrTheLastKnown() throws Exception {
        GeneratedWatermarkGenerator minutes =
                new GeneratedWatermarkGenerator("Minutes", GENERATED, new Object[0], new Configuration());
        WatermarkParams periodic = WatermarkParams.builder().emitStrategy(WatermarkEmitStrategy.ON_PERIODIC).build();
        Once once =
                new Once(
                        new int[] {0},
                        WatermarkStrategy.forGenerator(
                                new GeneratedWatermarkGeneratorSupplier(minutes, periodic)),
                        null);
        Once.Time time = InstantiationUtil.clone(once).time(UnregisteredMetricsGroup.createSourceReaderMetricGroup());
        assertEquals(120_000, time.of(row("a", 2L)));
        assertEquals(60_000, time.of(row("a", 1L)));
        assertNull(time.of(row("a", null)));
    }

    @Test
    void anyOtherWatermarkIsRefused() {
        Once once = new Once(new int[] {0}, WatermarkStrategy.forGenerator(c -> new NoWatermarksGenerator<>()), null);
        ValidationException e =
                assertThrows(
                        ValidationException.class,
                        () -> once.time(UnregisteredMetricsGroup.createSourceReaderMetricGroup()));
        assertTrue(e.getMessage().contains("NoWatermarksGenerator"), e.getMessage());
    }

    @Test
    void theIdentityIsSomeColumnsAndComparesByValue() {
        Once once = new Once(new int[] {0}, null, null);
        assertEquals(once.identityOf(row("a", 1L)), once.identityOf(row("a", 2L)));
        assertEquals(GenericRowData.of(StringData.fromString("a")), once.identityOf(row("a", 1L)));
    }

    @Test
    void onlyEventsHaveATime() throws Exception {
        Once.Time events = new Once(new int[] {0}, null, null, 1, 2).ofEvents(row -> 7L);
        StringData error = StringData.fromString("undecodable");
        assertEquals(7, events.of(GenericRowData.of(StringData.fromString("a"), new byte[0], null)));
        assertNull(events.of(GenericRowData.of(StringData.fromString("a"), null, null)));
        assertNull(events.of(GenericRowData.of(StringData.fromString("a"), new byte[0], error)));
        assertEquals(7, new Once(new int[] {0}, null, null).ofEvents(row -> 7L).of(row("a", null)));
    }

    @Test
    void theLatestTimeDoesNotOverflow() {
        Once aDay = new Once(new int[] {0}, null, Duration.ofDays(1));
        assertEquals(86_400_000 + 7, aDay.latest(7));
        assertEquals(Long.MAX_VALUE, aDay.latest(Long.MAX_VALUE - 7));
        assertEquals(Long.MAX_VALUE, new Once(new int[] {0}, null, Duration.ofMillis(Long.MAX_VALUE)).latest(7));
        assertEquals(Long.MAX_VALUE, new Once(new int[] {0}, null, null).latest(7));
    }

    private static RowData row(String id, Long minute) {
        return GenericRowData.of(StringData.fromString(id), minute);
    }
}
