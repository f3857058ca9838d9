INSERT INTO event (
    trace, event_id, timestamp, kind, actor, to_actor, to_port, port, error,
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
    attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_id
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
    ?10, ?11, ?12, ?13, ?14, ?15, ?16,
    ?17, ?18, ?19, ?20, ?21,
    ?22, ?23, ?24, ?25, ?26, ?27, ?28
)
ON CONFLICT DO NOTHING
