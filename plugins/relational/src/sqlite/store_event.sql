INSERT INTO event (trace, event_id, timestamp, kind, actor, error, body)
SELECT seq, ?2, ?3, ?4, ?5, ?6, ?7 FROM trace WHERE trace_id = ?1
ON CONFLICT DO NOTHING
