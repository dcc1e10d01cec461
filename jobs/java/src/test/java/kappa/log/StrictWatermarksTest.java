package kappa.log;

import static kappa.log.Fixtures.AN_HOUR;
import static kappa.log.Fixtures.HOUR;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import kappa.log.Fixtures.Notes;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

class StrictWatermarksTest {

    private static final long NOON = 12 * HOUR;

    private final Notes output = new Notes();

    @Test
    void aRecordLateByExactlyTheAllowedLatenessIsNotBehindTheWatermark() throws Exception {
        generator().onEvent(null, NOON, output);
        assertEquals(List.of("watermark " + (NOON - HOUR - 1)), output.taken);
    }

    @Test
    void aRestoredClockStandsWhereTheRecordLeftIt() throws Exception {
        generator().onEvent(null, NOON, output);
        output.emitWatermark(AN_HOUR.after(NOON));
        assertEquals(output.taken.get(0), output.taken.get(1));
    }

    @Test
    void beforeAnyRecordThereIsStillNone() throws Exception {
        generator().onPeriodicEmit(output);
        assertEquals(List.of("watermark " + Long.MIN_VALUE), output.taken);
    }

    /** Timestamp - 1 hour at every record, as sent to a task. */
    private static WatermarkGenerator<RowData> generator() throws Exception {
        WatermarkStrategy<RowData> declared = WatermarkStrategy.forGenerator(context -> new Declared());
        return InstantiationUtil.clone(new StrictWatermarks(declared)).createWatermarkGenerator(null);
    }

    private static final class Declared implements WatermarkGenerator<RowData> {

        @Override
        public void onEvent(RowData row, long timestamp, WatermarkOutput out) {
            out.emitWatermark(new Watermark(timestamp - HOUR));
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput out) {
            out.emitWatermark(new Watermark(Long.MIN_VALUE));
        }
    }
}
