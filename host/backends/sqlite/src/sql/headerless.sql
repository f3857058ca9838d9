SELECT trace_id FROM trace WHERE start_time IS NULL AND trace_id > ?1 ORDER BY trace_id LIMIT ?2
