package kappa.log;

import java.time.ZoneOffset;
import org.apache.flink.table.runtime.util.TimeWindowUtil;

/** Whether the Flink that a job runs on has the patches of local/patches.py: a cluster may be somebody else's. */
final class FlinkPatches {

    private FlinkPatches() {}

    /** An error before a row is read: without the patches rows would be missing from windows, and nothing would say so. */
    static void require() {
        long next = TimeWindowUtil.getNextTriggerWatermark(0, 1000, ZoneOffset.UTC, false);
        if (next != 0) {
            throw new IllegalStateException(
                    "windows lose rows on this Flink (FLINK-38075, FLINK-36664): 00-flink-patches.jar, which kappa up"
                            + " builds, must be in lib/ of every TaskManager");
        }
    }
}
