SELECT
    event_id, timestamp, kind, actor, to_actor, to_port, port, error,
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
    attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_id
FROM event
WHERE trace = ?1
ORDER BY timestamp, event_id
