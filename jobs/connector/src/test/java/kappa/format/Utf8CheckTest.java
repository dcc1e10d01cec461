package kappa.format;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;

class Utf8CheckTest {

    /** Bytes at which the rules change. */
    private static final int[] EDGES = {
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
        0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff
    };

    @Test
    void everyPairOfBytesIsJudgedAsTheJdkDoes() {
        for (int i = 0; i < 1 << 16; i++) {
            check(new byte[] {(byte) (i >> 8), (byte) i});
        }
    }

    @Test
    void everyFourBytesAtTheEdgesAreJudgedAsTheJdkDoes() {
        for (int a : EDGES) {
            for (int b : EDGES) {
                for (int c : EDGES) {
                    for (int d : EDGES) {
                        check(new byte[] {(byte) a, (byte) b, (byte) c, (byte) d});
                    }
                }
            }
        }
    }

    @Test
    void whatStandsAroundATextIsNotLookedAt() {
        Random random = new Random(1);
        for (int i = 0; i < 100_000; i++) {
            byte[] bytes = new byte[12];
            random.nextBytes(bytes);
            byte[] text = "\u00fc\u6771\ud83d\udeb2".getBytes(StandardCharsets.UTF_8);
            System.arraycopy(text, 0, bytes, 2, text.length);
            assertEquals(true, Utf8Check.isValid(bytes, 2, text.length));
            assertEquals(false, Utf8Check.isValid(bytes, 2, text.length - 1));
        }
    }

    private static void check(byte[] bytes) {
        boolean expected = true;
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
        } catch (CharacterCodingException e) {
            expected = false;
        }
        assertEquals(expected, Utf8Check.isValid(bytes, 0, bytes.length), () -> HexFormat.of().formatHex(bytes));
    }
}
