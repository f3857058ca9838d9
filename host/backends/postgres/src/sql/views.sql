-- Views for users: times as timestamptz, JSON as jsonb.

CREATE VIEW traces AS
SELECT
    trace_id,
    flow_id,
    execution_id,
    moment(start_time) AS start_time,
    moment(end_time) AS end_time,
    status,
    shown(metadata) AS metadata,
    error,
    shown(version) AS version,
    duration / 1e6 AS duration_ms,
    start_time AS start_time_ns,
    end_time AS end_time_ns,
    shown(more) AS more
FROM trace
WHERE start_time IS NOT NULL;

CREATE VIEW trace_events AS
SELECT
    event.event_id,
    trace.trace_id,
    moment(event.occurred_at) AS "timestamp",
    event.kind AS event_type,
    event.actor AS actor_id,
    jsonb_build_object(
        'port', event.port,
        'message', CASE WHEN event.message_type IS NOT NULL THEN jsonb_build_object(
            'message_type', event.message_type, 'size_bytes', unsigned(event.message_size),
            'checksum', coalesce(event.message_checksum, ''),
            'serialized_data_hex', encode(coalesce(event.message_data, ''), 'hex')) END,
        'state_diff', CASE WHEN event.state_kind IS NOT NULL THEN jsonb_build_object(
            'before_hex', encode(event.state_before, 'hex'), 'after_hex', encode(event.state_after, 'hex'),
            'diff_type', event.state_kind) END,
        'error', event.error,
        'performance_metrics', jsonb_build_object(
            'execution_time_ns', CASE WHEN event.unmeasured & 1 <> 0 THEN NULL ELSE unsigned(event.execution_time_ns) END,
            'memory_usage_bytes', CASE WHEN event.unmeasured & 2 <> 0 THEN NULL ELSE unsigned(event.memory_usage_bytes) END,
            'cpu_usage_percent', CASE WHEN event.unmeasured & 4 <> 0 THEN NULL ELSE coalesce(event.cpu_usage_percent, 0) END,
            'queue_depth', CASE WHEN event.unmeasured & 8 <> 0 THEN NULL ELSE unsigned(event.queue_depth) END,
            'throughput_msgs_per_sec', CASE WHEN event.unmeasured & 16 <> 0 THEN NULL ELSE coalesce(event.throughput, 0) END),
        'custom_attributes', coalesce(shown(event.attributes), '{}')) AS data,
    trace.flow_id,
    event.port,
    event.to_actor,
    event.to_port,
    event.error,
    event.message_type,
    unsigned(event.message_size) AS message_size,
    CASE WHEN event.unmeasured & 1 <> 0 THEN NULL ELSE unsigned(event.execution_time_ns) END AS execution_time_ns,
    CASE WHEN event.unmeasured & 2 <> 0 THEN NULL ELSE unsigned(event.memory_usage_bytes) END AS memory_usage_bytes,
    CASE WHEN event.unmeasured & 4 <> 0 THEN NULL ELSE coalesce(event.cpu_usage_percent, 0) END AS cpu_usage_percent,
    CASE WHEN event.unmeasured & 8 <> 0 THEN NULL ELSE unsigned(event.queue_depth) END AS queue_depth,
    CASE WHEN event.unmeasured & 16 <> 0 THEN NULL ELSE coalesce(event.throughput, 0) END AS throughput_msgs_per_sec,
    coalesce(event.span_uuid::text, event.span_text) AS span_id,
    event.parent_event_id,
    shown(event.attributes) AS attributes,
    event.occurred_at AS timestamp_ns,
    shown(event.more) AS more
FROM event
JOIN trace ON trace.seq = event.trace AND trace.placed_at = event.placed_at
WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL; -- always true; makes the session see new partitions
