package kappa.log;

import java.io.Serializable;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.Watermark;

/**
 * What the clock of one partition lets its watermark be.
 *
 * @param allowedLateness L: a record is late when it was appended more than this after it happened
 * @param brokerTimeMargin set when the broker dates the topic's records, else null: see {@link #atEnd}
 */
record LogClock(Duration allowedLateness, Duration brokerTimeMargin) implements Serializable {

    /**
     * The time that has passed behind a record: a millisecond below its timestamp - L.
     *
     * <p>A record is on time if it happened at its timestamp - L or later. To a window, watermark t says that nothing of
     * t or before comes any more. So with timestamp - L itself a record that is late by exactly L, and behind another one
     * of the same timestamp, would be dropped by the window that ends there: in one run, and in another, with the
     * watermark not emitted in between, not.
     */
    Watermark after(long recordTimestamp) {
        return new Watermark(recordTimestamp - allowedLateness.toMillis() - 1);
    }

    /**
     * The watermark that is emitted behind a record: one millisecond below {@link #after}.
     *
     * <p>A session that ends where a row happens takes the row in, unless it was closed before, as watermark 'its end
     * less a millisecond' does. A row that is late by exactly L may come behind that watermark or before it. Behind this
     * one it cannot: what touches an on-time row is still open, in every run.
     */
    Watermark emittedAfter(long recordTimestamp) {
        return new Watermark(after(recordTimestamp).getTimestamp() - 1);
    }

    boolean brokerDatesRecords() {
        return brokerTimeMargin != null;
    }

    /**
     * The watermark of a partition that is read to the end that the broker named when it was asked at {@code askedAt}.
     *
     * <p>Why nothing behind that end is cut off: under LogAppendTime a record is dated by the leader that appends it.
     * It lies behind the high watermark of {@code askedAt} if it was appended later, or shortly before and was not on
     * all replicas yet, for which a replica has {@code replica.lag.time.max.ms} (30 s, judged up to 15 s late) before
     * it is no longer waited for. So its timestamp is at least {@code askedAt} less that time and less what the clocks
     * of broker and TaskManager differ by; the margin covers both. Lateness is then judged by the record's own
     * timestamp, so what the rule calls on time is not below {@code askedAt - margin - L}.
     */
    Watermark atEnd(long askedAt) {
        return after(timestampAtEnd(askedAt));
    }

    /** No record behind that end has an earlier timestamp. */
    long timestampAtEnd(long askedAt) {
        return askedAt - brokerTimeMargin.toMillis();
    }
}
