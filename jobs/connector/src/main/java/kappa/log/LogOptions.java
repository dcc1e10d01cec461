package kappa.log;

import java.time.Duration;
import java.util.List;

/**
 * What the connector knows beyond the options of {@code kafka}.
 *
 * @param once the columns that make two records the same event; none for records as they come
 * @param maxAhead see {@link Once#maxAhead}
 * @param checkpoints where the job's checkpoints are; null if that is not known
 * @param records the folder of {@link RecordFiles} that are read instead of Kafka; null for Kafka
 */
record LogOptions(LogClock clock, List<String> once, Duration maxAhead, String checkpoints, String records) {}
