package kappa.log;

import org.apache.flink.api.common.eventtime.TimestampAssigner;
import org.apache.flink.api.common.eventtime.TimestampAssignerSupplier;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkAlignmentParams;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.table.data.RowData;

/**
 * The watermarks that the SQL declares, less a millisecond.
 *
 * <p>A record is on time if it happened at its timestamp - L or later. To a window, watermark t says that nothing of t
 * or before comes any more. So with timestamp - L itself a record that is late by exactly L, and behind another one of
 * the same timestamp, would be dropped by the window that ends there: in one run, and in another, with the watermark
 * not emitted in between, not.
 */
record StrictWatermarks(WatermarkStrategy<RowData> declared) implements WatermarkStrategy<RowData> {

    private static final long serialVersionUID = 1L;

    /** The watermark below {@code time}: everything before it has come. */
    static Watermark before(long time) {
        return new Watermark(time == Long.MIN_VALUE ? time : time - 1);
    }

    @Override
    public WatermarkGenerator<RowData> createWatermarkGenerator(WatermarkGeneratorSupplier.Context context) {
        return new Generator(declared.createWatermarkGenerator(context));
    }

    @Override
    public TimestampAssigner<RowData> createTimestampAssigner(TimestampAssignerSupplier.Context context) {
        return declared.createTimestampAssigner(context);
    }

    @Override
    public WatermarkAlignmentParams getAlignmentParameters() {
        return declared.getAlignmentParameters();
    }

    private static final class Generator implements WatermarkGenerator<RowData> {

        private final WatermarkGenerator<RowData> declared;
        private final Output output = new Output();

        Generator(WatermarkGenerator<RowData> declared) {
            this.declared = declared;
        }

        @Override
        public void onEvent(RowData row, long timestamp, WatermarkOutput out) {
            output.behind = out;
            declared.onEvent(row, timestamp, output);
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput out) {
            output.behind = out;
            declared.onPeriodicEmit(output);
        }
    }

    private static final class Output implements WatermarkOutput {

        private WatermarkOutput behind;

        @Override
        public void emitWatermark(Watermark watermark) {
            behind.emitWatermark(before(watermark.getTimestamp()));
        }

        @Override
        public void markIdle() {
            behind.markIdle();
        }

        @Override
        public void markActive() {
            behind.markActive();
        }
    }
}
