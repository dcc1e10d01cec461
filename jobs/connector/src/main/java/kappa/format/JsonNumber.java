package kappa.format;

import java.math.BigInteger;

/**
 * A number of JSON as it is written, without zeros at either end: never by way of a binary fraction.
 *
 * @param digits none: zero
 * @param exponent the power of ten that the digits are multiplied by
 */
record JsonNumber(boolean negative, String digits, long exponent) {

    private static final int LONGEST_EXPONENT = 12;
    private static final long MOST = 1_000_000_000_000L;
    private static final int SHORT = 18;

    /** Null of a text that is no number of JSON. */
    static JsonNumber parse(String text) {
        int length = text.length();
        boolean negative = length > 0 && text.charAt(0) == '-';
        int start = negative ? 1 : 0;
        int point = digitsFrom(text, start);
        if (point == start || point > start + 1 && text.charAt(start) == '0') {
            return null;
        }
        int end = point;
        if (end < length && text.charAt(end) == '.') {
            end = digitsFrom(text, point + 1);
            if (end == point + 1) {
                return null;
            }
        }
        long power = 0;
        if (end < length) {
            Long found = exponent(text, end);
            if (found == null) {
                return null;
            }
            power = found;
        }
        int behind = Math.max(0, end - point - 1);
        return of(negative, text.substring(start, point) + text.substring(Math.min(point + 1, end), end), power - behind);
    }

    private static int digitsFrom(String text, int start) {
        int at = start;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        return at;
    }

    private static Long exponent(String text, int at) {
        int start = at + 1;
        boolean negative = false;
        if (text.charAt(at) != 'e' && text.charAt(at) != 'E') {
            return null;
        }
        if (start < text.length() && (text.charAt(start) == '-' || text.charAt(start) == '+')) {
            negative = text.charAt(start) == '-';
            start++;
        }
        int end = digitsFrom(text, start);
        if (end == start || end < text.length()) {
            return null;
        }
        while (start < end - 1 && text.charAt(start) == '0') {
            start++;
        }
        long found = end - start > LONGEST_EXPONENT ? MOST : Long.parseLong(text.substring(start, end));
        return negative ? -found : found;
    }

    private static JsonNumber of(boolean negative, String written, long exponent) {
        int start = 0;
        int end = written.length();
        while (start < end && written.charAt(start) == '0') {
            start++;
        }
        while (end > start && written.charAt(end - 1) == '0') {
            end--;
        }
        return new JsonNumber(negative, written.substring(start, end), exponent + written.length() - end);
    }

    boolean isInteger(long shift) {
        return digits.isEmpty() || exponent + shift >= 0;
    }

    /** The number times ten to the shift, which must be an integer; null if it has more digits. */
    BigInteger times(long shift, int mostDigits) {
        if (digits.isEmpty()) {
            return BigInteger.ZERO;
        }
        long zeros = exponent + shift;
        if (digits.length() + zeros > mostDigits) {
            return null;
        }
        BigInteger found = new BigInteger(digits).multiply(BigInteger.TEN.pow((int) zeros));
        return negative ? found.negate() : found;
    }

    /** Whether a number of JSON is nothing but so few digits that they fit a long. */
    static boolean isShort(String text) {
        int start = text.charAt(0) == '-' ? 1 : 0;
        return text.length() - start <= SHORT && digitsFrom(text, start) == text.length();
    }
}
