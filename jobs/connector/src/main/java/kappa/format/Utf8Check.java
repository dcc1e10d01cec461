package kappa.format;

/** Whether bytes are UTF-8 as Unicode defines it: no surrogates, no longer forms, nothing beyond U+10FFFF. */
final class Utf8Check {

    private Utf8Check() {}

    static boolean isValid(byte[] bytes, int start, int length) {
        int end = start + length;
        int at = start;
        while (at < end && bytes[at] >= 0) {
            at++;
        }
        while (at < end) {
            int width = width(bytes, at, end);
            if (width == 0) {
                return false;
            }
            at += width;
        }
        return true;
    }

    /** How many bytes the character at a position takes; 0 where there is none. */
    private static int width(byte[] bytes, int at, int end) {
        int first = bytes[at] & 0xff;
        if (first < 0x80) {
            return 1;
        }
        int width = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
        if (width == 0 || at + width > end) {
            return 0;
        }
        int second = bytes[at + 1] & 0xff;
        int least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        int most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (second < least || second > most) {
            return 0;
        }
        for (int i = 2; i < width; i++) {
            if ((bytes[at + i] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return width;
    }
}
