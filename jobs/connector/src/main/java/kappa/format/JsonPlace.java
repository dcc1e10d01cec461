package kappa.format;

import java.util.function.IntPredicate;

/** Where a value stands in a document, for reasons: {@code items[].price}. */
record JsonPlace(String path) {

    private static final int LONGEST_SHOWN = 40;
    private static final IntPredicate IS_ASCII = c -> c >= ' ' && c <= '~';

    JsonPlace field(String name) {
        return new JsonPlace(path.isEmpty() ? name : path + "." + name);
    }

    JsonPlace items() {
        return new JsonPlace(path + "[]");
    }

    JsonPlace values() {
        return new JsonPlace(path + "{}");
    }

    UndecodableException reject(String why) {
        return new UndecodableException((path.isEmpty() ? "the record" : "field " + path) + ": " + why);
    }

    /** Of a number, as it is written. */
    UndecodableException rejectNumber(String text, String why) {
        return reject(cut(text) + " " + why);
    }

    /** Of a text, in quotes; nothing of one that is more than ASCII. */
    UndecodableException rejectText(String text, String why) {
        boolean plain = text.chars().limit(LONGEST_SHOWN).allMatch(IS_ASCII);
        return reject((plain ? "'" + cut(text) + "'" : "the text") + " " + why);
    }

    private static String cut(String text) {
        return text.length() <= LONGEST_SHOWN ? text : text.substring(0, LONGEST_SHOWN) + "…";
    }
}
