-- Of the traces in $1 it stores the events of those that are there, and says how many these are. The lock keeps anyone from
-- deleting them until this is committed. All writers insert in the same order, so that none waits for another in a circle.
WITH place AS MATERIALIZED (
    SELECT trace_id, seq, placed_at FROM trace WHERE trace_id = ANY($1) ORDER BY trace_id FOR KEY SHARE
), stored AS (
    INSERT INTO event (
        trace, placed_at, event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
        message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
        execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
        attributes, parent_event_id, root_event_id, dependency_chain, span_uuid, span_text
    )
    SELECT
        place.seq, place.placed_at, event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
        message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
        execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
        attributes, parent_event_id, root_event_id, dependency_chain, span_uuid, span_text
    FROM unnest(
        $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::bigint[], $13::text[], $14::bytea[], $15::text[], $16::bytea[], $17::bytea[],
        $18::bigint[], $19::bigint[], $20::real[], $21::bigint[], $22::double precision[],
        $23::text[], $24::uuid[], $25::uuid[], $26::bytea[], $27::uuid[], $28::text[]
    ) AS new (
        trace_id, event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
        message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
        execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
        attributes, parent_event_id, root_event_id, dependency_chain, span_uuid, span_text
    )
    JOIN place USING (trace_id)
    ORDER BY place.seq, occurred_at, event_id
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM place
