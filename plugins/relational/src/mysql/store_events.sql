-- Not INSERT IGNORE, which would cut off what is too long.
INSERT INTO event (trace_id, timestamp, event_id, kind, actor, error, body)
VALUES (?, ?, ?, ?, ?, ?, ?), ...
ON DUPLICATE KEY UPDATE trace_id = event.trace_id
