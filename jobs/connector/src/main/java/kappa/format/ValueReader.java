package kappa.format;

import java.io.IOException;

/**
 * Reads one value, as a writer's schema has it, into Flink's internal form of what the reader's schema makes of it.
 *
 * <p>Throws {@link UndecodableException} when there is no such value, and EOFException where the message ends.
 */
@FunctionalInterface
interface ValueReader {

    Object read(Body body) throws IOException;
}
