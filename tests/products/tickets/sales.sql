SELECT seller, ticket, event, sold_at, price, kind, log_topic, log_partition, log_offset FROM sold
