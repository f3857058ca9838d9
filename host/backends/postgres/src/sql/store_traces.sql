INSERT INTO trace (
    trace_id, placed_at, flow_id, execution_id, start_time, end_time, duration, status, error, version, metadata, tags, more
)
SELECT
    trace_id, placed_at, flow_id, execution_id, start_time, end_time, duration, status, error, version, metadata,
    tags::jsonb, more
FROM unnest(
    $1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[]
) AS new (
    trace_id, placed_at, flow_id, execution_id, start_time, end_time, duration, status, error, version, metadata, tags, more
)
ORDER BY trace_id
ON CONFLICT (trace_id) DO UPDATE SET
    flow_id      = excluded.flow_id,
    execution_id = excluded.execution_id,
    start_time   = excluded.start_time,
    end_time     = excluded.end_time,
    duration     = excluded.duration,
    status       = excluded.status,
    error        = excluded.error,
    version      = excluded.version,
    metadata     = excluded.metadata,
    tags         = excluded.tags,
    more         = excluded.more
