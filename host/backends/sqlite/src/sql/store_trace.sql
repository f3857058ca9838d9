INSERT INTO trace (trace_id, flow_id, execution_id, start_time, end_time, status, error, version, metadata, more)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (trace_id) DO UPDATE SET
    flow_id      = excluded.flow_id,
    execution_id = excluded.execution_id,
    start_time   = excluded.start_time,
    end_time     = excluded.end_time,
    status       = excluded.status,
    error        = excluded.error,
    version      = excluded.version,
    metadata     = excluded.metadata,
    more         = excluded.more
RETURNING seq
