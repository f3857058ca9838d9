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
    coalesce(execution_time_ns, 0) AS execution_time_ns,
    coalesce(memory_usage_bytes, 0) AS memory_usage_bytes,
    coalesce(cpu_usage_percent, 0.0) AS cpu_usage_percent,
    coalesce(queue_depth, 0) AS queue_depth,
    coalesce(throughput, 0.0) AS throughput_msgs_per_sec,
    CASE typeof(span_id) WHEN 'blob' THEN
        lower(substr(hex(span_id), 1, 8) || '-' || substr(hex(span_id), 9, 4) || '-' || substr(hex(span_id), 13, 4)
            || '-' || substr(hex(span_id), 17, 4) || '-' || substr(hex(span_id), 21))
        ELSE span_id END AS span_id,
    lower(substr(hex(parent_event_id), 1, 8) || '-' || substr(hex(parent_event_id), 9, 4) || '-'
        || substr(hex(parent_event_id), 13, 4) || '-' || substr(hex(parent_event_id), 17, 4) || '-'
        || substr(hex(parent_event_id), 21)) AS parent_event_id,
    coalesce(attributes, '{}') AS attributes,
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
            'execution_time_ns', coalesce(execution_time_ns, 0),
            'memory_usage_bytes', coalesce(memory_usage_bytes, 0),
            'cpu_usage_percent', coalesce(cpu_usage_percent, 0.0),
            'queue_depth', coalesce(queue_depth, 0),
            'throughput_msgs_per_sec', coalesce(throughput, 0.0)),
        'custom_attributes', json(coalesce(attributes, '{}'))) AS data
FROM event
JOIN trace ON trace.seq = event.trace;
