SELECT
    event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
    attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_uuid, span_text
FROM event
WHERE trace = $1 AND placed_at = $2 AND (SELECT oid FROM pg_class WHERE oid = 0) IS NULL -- see catalog.rs
ORDER BY occurred_at, event_id
