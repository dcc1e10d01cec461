package kappa.format;

import java.io.IOException;

/** A record cannot be decoded, whatever is tried; the message is what the column {@code error} says. */
public final class UndecodableException extends IOException {

    private static final long serialVersionUID = 1L;
    private static final int LONGEST = 300; // Avro likes to print whole schemas

    UndecodableException(String reason) {
        super(reason.length() <= LONGEST ? reason : reason.substring(0, LONGEST) + "…");
    }

    /** Without a stack trace: garbage may come at the full speed of the log. */
    @Override
    public Throwable fillInStackTrace() {
        return this;
    }
}
