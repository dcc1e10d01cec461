package kappa.flink;

import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.zone.ZoneOffsetTransition;
import java.time.zone.ZoneRules;

/**
 * When windows on local time end: takes the place of methods of Flink's {@code TimeWindowUtil}.
 *
 * <p>Windows over a TIMESTAMP_LTZ begin and end on the wall clock of the session's time zone. Flink holds their ends as
 * if that clock were UTC's ("local milliseconds"), and turns them into instants to compare them with watermarks.
 */
public final class WindowTriggers {

    private WindowTriggers() {}

    /**
     * The next watermark at which buffered rows have to be looked at: every one.
     *
     * <p>The buffer itself knows the end of the earliest window in it, and does nothing before that has passed. Flink
     * works out the next window end instead, to ask the buffer less often, and does so without the windows' offset and
     * in most zones without the zone. When it asks too late, the windows have fired without what was buffered, and
     * those rows are in no result. Window joins, rank and de-duplication ask at every watermark too.
     *
     * @param interval, zone, daylightSaving not needed: the signature is that of Flink's method
     */
    public static long nextTriggerWatermark(
            long currentWatermark, long interval, ZoneId zone, boolean daylightSaving) {
        return currentWatermark;
    }

    /**
     * The last instant at which the wall clock shows {@code localMillis} or less: the end of the window whose last local
     * millisecond this is.
     *
     * <p>Where clocks were set back, a local time passes twice, and this is the second time. Where they were set forward
     * past it, the instant before the change. Flink sees to the second time only in zones that have daylight saving time
     * today, takes every change for one of an hour, and dates a window's row ({@code window_time}) otherwise than its
     * timer: behind the watermark, or in the next window.
     */
    public static long lastInstant(long localMillis, ZoneId zone) {
        if (localMillis == Long.MAX_VALUE) { // Flink's mark for 'at the end of all input'
            return localMillis;
        }
        ZoneRules rules = zone.getRules();
        if (rules.isFixedOffset()) {
            return before(localMillis, rules.getOffset(Instant.EPOCH));
        }
        LocalDateTime local = LocalDateTime.ofInstant(Instant.ofEpochMilli(localMillis), ZoneOffset.UTC);
        ZoneOffsetTransition change = rules.getTransition(local);
        if (change == null) {
            return before(localMillis, rules.getOffset(local));
        }
        return change.isOverlap()
                ? before(localMillis, change.getOffsetAfter())
                : change.getInstant().toEpochMilli() - 1;
    }

    private static long before(long localMillis, ZoneOffset offset) {
        return Math.subtractExact(localMillis, offset.getTotalSeconds() * 1000L);
    }
}
