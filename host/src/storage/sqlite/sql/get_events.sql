SELECT body FROM event WHERE trace = ?1 ORDER BY timestamp, event_id
