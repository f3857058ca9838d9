-- The events of some traces, in the order of the traces: the places are walked one after another, and nothing is sorted, so
-- that the first events come at once and however many follow.
SELECT
    event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
    message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
    execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
    attributes, parent_event_id, root_event_id, dependency_chain, span_uuid, span_text, unmeasured, more,
    number
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS place (seq, place, number)
CROSS JOIN LATERAL (
    SELECT * FROM event WHERE event.trace = place.seq AND event.placed_at = place.place ORDER BY occurred_at, event_id
) AS events
WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL -- see partition.rs
