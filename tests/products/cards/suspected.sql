-- Two or more payments below two, and then one of five hundred or more, within ten minutes.
SELECT card, first_id, last_id, `at`, trials, amount
FROM authorisations
MATCH_RECOGNIZE (
  PARTITION BY card
  ORDER BY `at`, log_partition, log_offset
  MEASURES FIRST(TRIAL.id) AS first_id, LAST(HIT.id) AS last_id, LAST(HIT.`at`) AS `at`,
           COUNT(TRIAL.id) AS trials, LAST(HIT.amount) AS amount
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (TRIAL{2,} HIT) WITHIN INTERVAL '10' MINUTE
  DEFINE TRIAL AS TRIAL.amount < 2, HIT AS HIT.amount >= 500
) AS found
