INSERT INTO trace (trace_id, flow_id, execution_id, start_time, end_time, status, error, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?), ...
ON CONFLICT (trace_id) DO UPDATE SET
    flow_id      = excluded.flow_id,
    execution_id = excluded.execution_id,
    start_time   = excluded.start_time,
    end_time     = excluded.end_time,
    status       = excluded.status,
    error        = excluded.error,
    body         = excluded.body
