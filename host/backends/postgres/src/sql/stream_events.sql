-- The events of several traces, in the order of the traces. Visits one location after another without a sort, so that the first
-- events arrive immediately.
SELECT
    event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
    attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_uuid, span_text,
    number
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS place (seq, place, number)
CROSS JOIN LATERAL (
    SELECT * FROM event WHERE event.trace = place.seq AND event.placed_at = place.place ORDER BY occurred_at, event_id
) AS events
WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL -- see catalog.rs
