package kappa.log;

import java.io.Serializable;

/**
 * Where a source stands in a partition at a checkpoint. Below either offset are also transaction markers and aborted
 * records.
 *
 * @param covered every record below it was emitted, or is held, before the checkpoint's barrier, and so was the watermark
 *     that follows from it: what windows make of it is in the checkpoint. A watermark comes a moment after its record
 * @param read no record from here on was emitted or held before the barrier
 */
record Stand(long covered, long read) implements Serializable {}
