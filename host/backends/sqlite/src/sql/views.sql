-- Views for users: ids and times as text, JSON for SQLite's JSON functions. They are created again whenever a host opens the
-- file, so they are not part of the stored format.

DROP VIEW IF EXISTS traces;
CREATE VIEW traces AS
SELECT
    lower(substr(hex(trace_id), 1, 8) || '-' || substr(hex(trace_id), 9, 4) || '-' || substr(hex(trace_id), 13, 4) || '-'
        || substr(hex(trace_id), 17, 4) || '-' || substr(hex(trace_id), 21)) AS trace_id,
    flow_id,
    lower(substr(hex(execution_id), 1, 8) || '-' || substr(hex(execution_id), 9, 4) || '-'
        || substr(hex(execution_id), 13, 4) || '-' || substr(hex(execution_id), 17, 4) || '-'
        || substr(hex(execution_id), 21)) AS execution_id,
    strftime('%Y-%m-%dT%H:%M:%S', (start_time - (start_time % 1000000000 + 1000000000) % 1000000000) / 1000000000,
        'unixepoch') || printf('.%09dZ', (start_time % 1000000000 + 1000000000) % 1000000000) AS start_time,
    strftime('%Y-%m-%dT%H:%M:%S', (end_time - (end_time % 1000000000 + 1000000000) % 1000000000) / 1000000000,
        'unixepoch') || printf('.%09dZ', (end_time % 1000000000 + 1000000000) % 1000000000) AS end_time,
    (end_time - start_time) / 1e6 AS duration_ms,
    status,
    error,
    version,
    metadata,
    more,
    (SELECT count(*) FROM event WHERE event.trace = trace.seq) AS events
FROM trace
WHERE start_time IS NOT NULL;

DROP VIEW IF EXISTS trace_events;
CREATE VIEW trace_events AS
SELECT
    lower(substr(hex(event_id), 1, 8) || '-' || substr(hex(event_id), 9, 4) || '-' || substr(hex(event_id), 13, 4) || '-'
        || substr(hex(event_id), 17, 4) || '-' || substr(hex(event_id), 21)) AS event_id,
    lower(substr(hex(trace_id), 1, 8) || '-' || substr(hex(trace_id), 9, 4) || '-' || substr(hex(trace_id), 13, 4) || '-'
        || substr(hex(trace_id), 17, 4) || '-' || substr(hex(trace_id), 21)) AS trace_id,
    flow_id,
    strftime('%Y-%m-%dT%H:%M:%S', (timestamp - (timestamp % 1000000000 + 1000000000) % 1000000000) / 1000000000,
        'unixepoch') || printf('.%09dZ', (timestamp % 1000000000 + 1000000000) % 1000000000) AS timestamp,
    kind AS event_type,
    actor AS actor_id,
    port,
    to_actor,
    to_port,
    event.error AS error,
    message_type,
    message_size,
    CASE WHEN unmeasured & 1 THEN NULL ELSE coalesce(execution_time_ns, 0) END AS execution_time_ns,
    CASE WHEN unmeasured & 2 THEN NULL ELSE coalesce(memory_usage_bytes, 0) END AS memory_usage_bytes,
    CASE WHEN unmeasured & 4 THEN NULL ELSE coalesce(cpu_usage_percent, 0.0) END AS cpu_usage_percent,
    CASE WHEN unmeasured & 8 THEN NULL ELSE coalesce(queue_depth, 0) END AS queue_depth,
    CASE WHEN unmeasured & 16 THEN NULL ELSE coalesce(throughput, 0.0) END AS throughput_msgs_per_sec,
    CASE typeof(span_id) WHEN 'blob' THEN
        lower(substr(hex(span_id), 1, 8) || '-' || substr(hex(span_id), 9, 4) || '-' || substr(hex(span_id), 13, 4)
            || '-' || substr(hex(span_id), 17, 4) || '-' || substr(hex(span_id), 21))
        ELSE span_id END AS span_id,
    lower(substr(hex(parent_event_id), 1, 8) || '-' || substr(hex(parent_event_id), 9, 4) || '-'
        || substr(hex(parent_event_id), 13, 4) || '-' || substr(hex(parent_event_id), 17, 4) || '-'
        || substr(hex(parent_event_id), 21)) AS parent_event_id,
    coalesce(attributes, '{}') AS attributes,
    event.more AS more,
    json_object(
        'port', port,
        'message', CASE WHEN message_type IS NOT NULL THEN json_object(
            'message_type', message_type, 'size_bytes', message_size, 'checksum', coalesce(message_checksum, ''),
            'serialized_data_hex', hex(message_data)) END,
        'state_diff', CASE WHEN state_kind IS NOT NULL THEN json_object(
            'before_hex', CASE WHEN state_before IS NOT NULL THEN hex(state_before) END,
            'after_hex', hex(state_after), 'diff_type', state_kind) END,
        'error', event.error,
        'performance_metrics', json_object(
            'execution_time_ns', CASE WHEN unmeasured & 1 THEN NULL ELSE coalesce(execution_time_ns, 0) END,
            'memory_usage_bytes', CASE WHEN unmeasured & 2 THEN NULL ELSE coalesce(memory_usage_bytes, 0) END,
            'cpu_usage_percent', CASE WHEN unmeasured & 4 THEN NULL ELSE coalesce(cpu_usage_percent, 0.0) END,
            'queue_depth', CASE WHEN unmeasured & 8 THEN NULL ELSE coalesce(queue_depth, 0) END,
            'throughput_msgs_per_sec', CASE WHEN unmeasured & 16 THEN NULL ELSE coalesce(throughput, 0.0) END),
        'custom_attributes', json(coalesce(attributes, '{}'))) AS data
FROM event
JOIN trace ON trace.seq = event.trace;
