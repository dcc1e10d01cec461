CREATE VIEW decoded AS
SELECT ride(payload) AS ride, payload, log_appended, log_partition, log_offset FROM messages;
