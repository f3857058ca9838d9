SELECT body FROM event
WHERE trace = (SELECT seq FROM trace WHERE trace_id = ?1) AND (timestamp, event_id) > (?2, ?3)
ORDER BY timestamp, event_id
LIMIT ?4 OFFSET ?5
