INSERT INTO event (trace, event_id, timestamp, kind, actor, error, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING
