SELECT session_id, ended, station, plug, watt_hours, CARDINALITY(phases) AS phases, labels['fleet'] AS fleet,
       CASE WHEN card IS NOT NULL THEN 'card' WHEN app_account IS NOT NULL THEN 'app' END AS paid_with, cents
FROM sessions
