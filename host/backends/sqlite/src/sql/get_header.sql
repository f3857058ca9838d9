SELECT seq, trace_id, flow_id, execution_id, start_time, end_time, status, error, version, metadata, more
FROM trace
WHERE trace_id = ?1 AND start_time IS NOT NULL
