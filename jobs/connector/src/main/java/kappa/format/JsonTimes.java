package kappa.format;

import java.math.BigInteger;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.data.TimestampData;

/** Times of JSON: texts in the profile of RFC 3339, and numbers since 1970. */
final class JsonTimes {

    private static final String DATE = "([0-9]{4})-([0-9]{2})-([0-9]{2})";
    private static final String CLOCK = "([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\\.([0-9]{1,9}))?";
    private static final String ZONE = "(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))";
    private static final Pattern ONLY_DATE = Pattern.compile(DATE);
    private static final Pattern ONLY_CLOCK = Pattern.compile(CLOCK);
    private static final Pattern LOCAL = Pattern.compile(DATE + "[Tt ]" + CLOCK);
    private static final Pattern ZONED = Pattern.compile(DATE + "[Tt ]" + CLOCK + ZONE);
    private static final long DAY = 86_400;
    private static final long FIRST_DAY = -719_162; // 0001-01-01
    private static final long LAST_DAY = 2_932_896; // 9999-12-31
    private static final int NANO_DIGITS = 9;
    private static final int LONGEST = 22; // digits of a time in nanoseconds, and more
    private static final String NOT_OF_THE_CALENDAR = "is not within the years 0001 to 9999";

    private JsonTimes() {}

    static JsonValue of(AvroType type, String form, JsonPlace place) {
        int digits =
                switch (type) {
                    case TIMESTAMP_MICROS, LOCAL_TIMESTAMP_MICROS -> 6;
                    case TIMESTAMP_NANOS, LOCAL_TIMESTAMP_NANOS -> NANO_DIGITS;
                    default -> 3;
                };
        return switch (form) {
            case "date" -> parser -> date(JsonValues.string(parser, place), place);
            case "time-local" -> parser -> clock(JsonValues.string(parser, place), place);
            case "date-time" -> parser -> zoned(JsonValues.string(parser, place), digits, place);
            case "date-time-local" -> parser -> local(JsonValues.string(parser, place), digits, place);
            case "epoch-days" -> parser -> days(JsonValues.number(parser, place), place);
            case "epoch-seconds" -> epoch(0, digits, place);
            case "epoch-millis" -> epoch(3, digits, place);
            case "epoch-micros" -> epoch(6, digits, place);
            case "epoch-nanos" -> epoch(NANO_DIGITS, digits, place);
            default -> throw new IllegalArgumentException("The attribute 'json' of a time is no " + form);
        };
    }

    /** Days since 1970; null of a day that no calendar has. */
    private static Long day(Matcher found) {
        int year = number(found, 1);
        if (year == 0) {
            return null;
        }
        try {
            return LocalDate.of(year, number(found, 2), number(found, 3)).toEpochDay();
        } catch (DateTimeException e) {
            return null;
        }
    }

    private static int number(Matcher found, int group) {
        String digits = found.group(group);
        return digits == null ? 0 : Integer.parseInt(digits);
    }

    /** Seconds since midnight, of the groups from one on; -1 of a time that no clock shows. */
    private static long second(Matcher found, int first) {
        int hour = number(found, first);
        int minute = number(found, first + 1);
        int second = number(found, first + 2);
        return hour > 23 || minute > 59 || second > 59 ? -1 : hour * 3_600L + minute * 60L + second;
    }

    private static int nanos(Matcher found, int group) {
        String fraction = found.group(group);
        if (fraction == null) {
            return 0;
        }
        int nanos = Integer.parseInt(fraction);
        for (int i = fraction.length(); i < NANO_DIGITS; i++) {
            nanos *= 10;
        }
        return nanos;
    }

    private static Object date(String text, JsonPlace place) throws UndecodableException {
        Matcher found = ONLY_DATE.matcher(text);
        Long day = found.matches() ? day(found) : null;
        if (day == null) {
            throw place.rejectText(text, "is no date");
        }
        return (int) (long) day;
    }

    private static Object clock(String text, JsonPlace place) throws UndecodableException {
        Matcher found = ONLY_CLOCK.matcher(text);
        long second = found.matches() ? second(found, 1) : -1;
        if (second < 0) {
            throw place.rejectText(text, "is no time-local");
        }
        int nanos = nanos(found, 4);
        checkDigits(text, nanos, 3, place);
        return (int) (second * 1_000 + nanos / 1_000_000);
    }

    private static Object local(String text, int digits, JsonPlace place) throws UndecodableException {
        Matcher found = LOCAL.matcher(text);
        Long day = found.matches() ? day(found) : null;
        long second = day == null ? -1 : second(found, 4);
        if (second < 0) {
            throw place.rejectText(text, "is no date-time-local");
        }
        int nanos = nanos(found, 7);
        checkDigits(text, nanos, digits, place);
        return timestamp(day * DAY + second, nanos);
    }

    private static Object zoned(String text, int digits, JsonPlace place) throws UndecodableException {
        Matcher found = ZONED.matcher(text);
        Long day = found.matches() ? day(found) : null;
        long second = day == null ? -1 : second(found, 4);
        if (second < 0 || number(found, 9) > 23 || number(found, 10) > 59) {
            throw place.rejectText(text, "is no date-time");
        }
        long offset = number(found, 9) * 3_600L + number(found, 10) * 60L;
        long seconds = day * DAY + second + ("-".equals(found.group(8)) ? offset : -offset);
        if (isOutside(seconds)) {
            throw place.rejectText(text, NOT_OF_THE_CALENDAR);
        }
        int nanos = nanos(found, 7);
        checkDigits(text, nanos, digits, place);
        return timestamp(seconds, nanos);
    }

    private static Object days(String text, JsonPlace place) throws UndecodableException {
        JsonNumber number = JsonNumber.parse(text);
        if (!number.isInteger(0)) {
            throw place.rejectNumber(text, "is no integer");
        }
        BigInteger found = number.times(0, LONGEST);
        if (found == null || found.bitLength() >= Long.SIZE || found.longValue() < FIRST_DAY || found.longValue() > LAST_DAY) {
            throw place.rejectNumber(text, NOT_OF_THE_CALENDAR);
        }
        return found.intValue();
    }

    /** A number of units of ten to the minus `unit` seconds, in a column of so many digits. */
    private static JsonValue epoch(int unit, int digits, JsonPlace place) {
        long perSecond = (long) Math.pow(10, digits);
        int nanosOfAUnit = (int) Math.pow(10, NANO_DIGITS - digits);
        return parser -> {
            String text = JsonValues.number(parser, place);
            if (unit == digits && digits < NANO_DIGITS && JsonNumber.isShort(text)) {
                long found = Long.parseLong(text);
                return epoch(text, Math.floorDiv(found, perSecond), (int) Math.floorMod(found, perSecond) * nanosOfAUnit, place);
            }
            JsonNumber number = JsonNumber.parse(text);
            if (!number.isInteger(digits - unit)) {
                throw place.rejectNumber(text, "is finer than " + name(digits));
            }
            BigInteger found = number.times(digits - unit, LONGEST);
            if (found == null) {
                throw place.rejectNumber(text, NOT_OF_THE_CALENDAR);
            }
            BigInteger units = BigInteger.valueOf(perSecond);
            int rest = found.mod(units).intValue();
            long seconds = found.subtract(BigInteger.valueOf(rest)).divide(units).longValue();
            return epoch(text, seconds, rest * nanosOfAUnit, place);
        };
    }

    private static Object epoch(String text, long seconds, int nanos, JsonPlace place) throws UndecodableException {
        if (isOutside(seconds)) {
            throw place.rejectNumber(text, NOT_OF_THE_CALENDAR);
        }
        return timestamp(seconds, nanos);
    }

    private static boolean isOutside(long seconds) {
        return seconds < FIRST_DAY * DAY || seconds >= (LAST_DAY + 1) * DAY;
    }

    private static TimestampData timestamp(long seconds, int nanos) {
        return TimestampData.fromEpochMillis(seconds * 1_000 + nanos / 1_000_000, nanos % 1_000_000);
    }

    private static void checkDigits(String text, int nanos, int digits, JsonPlace place) throws UndecodableException {
        if (nanos % (int) Math.pow(10, NANO_DIGITS - digits) != 0) {
            throw place.rejectText(text, "is finer than " + name(digits));
        }
    }

    private static String name(int digits) {
        return digits == 3 ? "milliseconds" : digits == 6 ? "microseconds" : "nanoseconds";
    }
}
