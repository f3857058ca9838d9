-- Not `INSERT .. SELECT`: SQLite would write a copy of each page that such a statement changes to a temporary file first.
INSERT INTO event (trace, event_id, timestamp, kind, actor, error, body)
VALUES ((SELECT seq FROM trace WHERE trace_id = ?1), ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING
