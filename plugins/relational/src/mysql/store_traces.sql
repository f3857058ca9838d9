INSERT INTO trace (trace_id, flow_id, execution_id, start_time, end_time, status, error, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?), ...
ON DUPLICATE KEY UPDATE
    flow_id      = VALUES(flow_id),
    execution_id = VALUES(execution_id),
    start_time   = VALUES(start_time),
    end_time     = VALUES(end_time),
    status       = VALUES(status),
    error        = VALUES(error),
    body         = VALUES(body)
