SELECT payload, log_key AS record_key, log_headers AS headers, log_appended AS appended FROM messages
