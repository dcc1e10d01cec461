package kappa.log;

import java.io.Serializable;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.generated.GeneratedWatermarkGeneratorSupplier.DefaultWatermarkGenerator;
import org.apache.flink.util.clock.RelativeClock;
import org.apache.flink.util.clock.SystemClock;

/**
 * What makes two records of a partition the same event, and when it happened.
 *
 * @param identity positions of columns
 * @param declared the watermarks of {@code WATERMARK FOR t AS t}
 * @param maxAhead how much later than the log's clock an event may be to be held; null for any time
 * @param value position of the record's bytes, -1 if it is not known
 * @param error position of why they could not be decoded, -1 if it is not known
 */
record Once(int[] identity, WatermarkStrategy<RowData> declared, Duration maxAhead, int value, int error)
        implements Serializable {

    Once(int[] identity, WatermarkStrategy<RowData> declared, Duration maxAhead) {
        this(identity, declared, maxAhead, -1, -1);
    }

    /** The value of a computed column, as the planner's own code computes it. */
    @FunctionalInterface
    interface Time {

        /** Milliseconds since the epoch; null where the column is. */
        Long of(RowData row) throws Exception;
    }

    RowData identityOf(RowData row) {
        GenericRowData columns = (GenericRowData) row;
        GenericRowData found = new GenericRowData(identity.length);
        for (int i = 0; i < identity.length; i++) {
            found.setField(i, columns.getField(identity[i]));
        }
        return found;
    }

    /**
     * The same for events alone. A record without a value, or one that cannot be decoded, may have a key, and a time that
     * is its key's or the log's: it is no event, and no copy of one.
     */
    Time ofEvents(Time time) {
        return row -> (value < 0 || !row.isNullAt(value)) && (error < 0 || row.isNullAt(error)) ? time.of(row) : null;
    }

    /** The latest time of an event that is held, where the log's clock stands there. */
    long latest(long logClock) {
        if (maxAhead == null) {
            return Long.MAX_VALUE;
        }
        long ahead = maxAhead.toMillis();
        return logClock > Long.MAX_VALUE - ahead ? Long.MAX_VALUE : logClock + ahead;
    }

    /**
     * The time of a row. A source is not given computed columns. It is given code for the watermark behind a row, which
     * of WATERMARK FOR t AS t is t; Flink keeps that code inside of a generator that only tells the greatest.
     */
    Time time(MetricGroup metrics) {
        WatermarkGenerator<RowData> generator =
                declared.createWatermarkGenerator(
                        new WatermarkGeneratorSupplier.Context() {
                            @Override
                            public MetricGroup getMetricGroup() {
                                return metrics;
                            }

                            @Override
                            public RelativeClock getInputActivityClock() {
                                return SystemClock.getInstance();
                            }
                        });
        try {
            var field = DefaultWatermarkGenerator.class.getDeclaredField("innerWatermarkGenerator");
            field.setAccessible(true);
            return ((org.apache.flink.table.runtime.generated.WatermarkGenerator) field.get(generator))::currentWatermark;
        } catch (ReflectiveOperationException | IllegalArgumentException e) {
            throw new ValidationException(
                    "'once' needs the watermark as Flink's planner generates it. Found: " + generator.getClass(), e);
        }
    }
}
