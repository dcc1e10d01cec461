SELECT log_appended AS logged_at, host, `method`, path, status, `bytes`,
       CASE WHEN status IS NULL THEN payload END AS not_understood, log_partition, log_offset
FROM parsed
