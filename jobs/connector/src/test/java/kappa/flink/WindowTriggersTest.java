package kappa.flink;

import static org.apache.flink.table.runtime.operators.window.TimeWindow.getWindowStartWithOffset;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.zone.ZoneOffsetTransition;
import java.util.List;
import java.util.TimeZone;
import java.util.function.LongConsumer;
import org.apache.flink.table.runtime.util.TimeWindowUtil;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Of Flink's own class, as it is on the class path: without the patches the first three tests fail. */
class WindowTriggersTest {

    private static final long MINUTE = 60_000;
    private static final long HOUR = 60 * MINUTE;
    private static final long DAY = 24 * HOUR;

    @ParameterizedTest
    @ValueSource(strings = {
        "UTC", "Etc/GMT-9", "GMT+05:45", "Asia/Tokyo", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York",
        "Europe/Moscow", "Australia/Lord_Howe"
    })
    void bufferedRowsAreLookedAtBeforeTheirWindowEnds(String name) {
        ZoneId zone = ZoneId.of(name);
        boolean daylightSaving = TimeZone.getTimeZone(zone).useDaylightTime();
        around(zone, 7 * MINUTE, watermark -> {
            for (long size : List.of(30 * MINUTE, HOUR, DAY)) {
                long next = TimeWindowUtil.getNextTriggerWatermark(watermark, size, zone, daylightSaving);
                for (long offset : List.of(0L, 15 * MINUTE, 5 * HOUR, -3 * HOUR)) {
                    long local = TimeWindowUtil.toUtcTimestampMills(watermark + 1, zone);
                    long end = getWindowStartWithOffset(local, offset, size) + size;
                    long fires = TimeWindowUtil.toEpochMillsForTimer(end - 1, zone);
                    assertTrue(next <= fires, () -> Instant.ofEpochMilli(watermark) + " " + size + " " + offset);
                }
            }
        });
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "America/Sao_Paulo", "Europe/Istanbul", "Europe/Moscow", "Asia/Magadan", "Asia/Pyongyang", "Antarctica/Troll",
        "Antarctica/Casey"
    })
    void noInstantOfAWindowComesAfterItsEnd(String name) {
        ZoneId zone = ZoneId.of(name);
        around(zone, 5 * MINUTE, instant -> {
            long local = TimeWindowUtil.toUtcTimestampMills(instant, zone);
            for (long size : List.of(15 * MINUTE, HOUR, DAY)) {
                long end = getWindowStartWithOffset(local, 0, size) + size;
                assertFalse(TimeWindowUtil.isWindowFired(end, instant - 1, zone), () -> Instant.ofEpochMilli(instant)
                        + " is in the window that ends at " + Instant.ofEpochMilli(end) + " local time");
            }
        });
    }

    @ParameterizedTest
    @CsvSource({
        "Asia/Tokyo,          2024-01-01T23:59:59.999, 2024-01-01T14:59:59.999Z",
        "America/New_York,    2024-11-03T01:59:59.999, 2024-11-03T06:59:59.999Z", // passes twice
        "Australia/Lord_Howe, 2024-04-07T01:59:59.999, 2024-04-06T15:29:59.999Z", // twice, by half an hour
        "Europe/Moscow,       2014-10-26T01:59:59.999, 2014-10-25T22:59:59.999Z", // twice, and never again
        "America/New_York,    2024-03-10T02:59:59.999, 2024-03-10T06:59:59.999Z", // does not exist
        "Asia/Pyongyang,      2018-05-04T23:59:59.999, 2018-05-04T14:59:59.999Z", // half of the hour does not exist
        "Pacific/Apia,        2011-12-30T23:59:59.999, 2011-12-30T09:59:59.999Z", // nor this whole day
    })
    void aWindowsRowIsDatedByItsLastInstant(String zone, String local, String instant) {
        long millis = LocalDateTime.parse(local).toInstant(ZoneOffset.UTC).toEpochMilli();
        long expected = Instant.parse(instant).toEpochMilli();
        assertEquals(expected, TimeWindowUtil.toEpochMills(millis, ZoneId.of(zone)), "window_time");
        assertEquals(expected, TimeWindowUtil.toEpochMillsForTimer(millis, ZoneId.of(zone)), "timer");
    }

    @ParameterizedTest
    @ValueSource(strings = {"UTC", "Asia/Tokyo", "America/New_York"})
    void theEndOfAllInputStaysTheEnd(String zone) {
        assertEquals(Long.MAX_VALUE, TimeWindowUtil.toEpochMills(Long.MAX_VALUE, ZoneId.of(zone)));
        assertEquals(Long.MAX_VALUE, TimeWindowUtil.toEpochMillsForTimer(Long.MAX_VALUE, ZoneId.of(zone)));
        assertEquals(Long.MAX_VALUE, TimeWindowUtil.getNextTriggerWatermark(Long.MAX_VALUE, HOUR, ZoneId.of(zone), true));
    }

    /** Every so many milliseconds of the two days around each change of the zone's offset, 2011 to 2024. */
    private static void around(ZoneId zone, long every, LongConsumer check) {
        Instant at = Instant.parse("2011-01-01T00:00:00Z");
        Instant last = Instant.parse("2024-12-31T00:00:00Z");
        while (at != null && at.isBefore(last)) {
            long middle = at.toEpochMilli();
            for (long millis = middle - DAY; millis < middle + DAY; millis += every) {
                check.accept(millis);
            }
            ZoneOffsetTransition next = zone.getRules().nextTransition(at);
            at = next == null ? null : next.getInstant();
        }
    }
}
