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
    FROM (
        SELECT
            unnest($2::uuid[]) AS trace_id, unnest($3::uuid[]) AS event_id, unnest($4::bigint[]) AS occurred_at,
            unnest($5::text[]) AS kind, unnest($6::text[]) AS actor, unnest($7::text[]) AS to_actor,
            unnest($8::text[]) AS to_port, unnest($9::text[]) AS port, unnest($10::text[]) AS error,
            unnest($11::text[]) AS message_type, unnest($12::bigint[]) AS message_size,
            unnest($13::text[]) AS message_checksum, unnest($14::bytea[]) AS message_data,
            unnest($15::text[]) AS state_kind, unnest($16::bytea[]) AS state_before,
            unnest($17::bytea[]) AS state_after, unnest($18::bigint[]) AS execution_time_ns,
            unnest($19::bigint[]) AS memory_usage_bytes, unnest($20::real[]) AS cpu_usage_percent,
            unnest($21::bigint[]) AS queue_depth, unnest($22::double precision[]) AS throughput,
            unnest($23::text[]) AS attributes, unnest($24::uuid[]) AS parent_event_id,
            unnest($25::uuid[]) AS root_event_id, unnest($26::bytea[]) AS dependency_chain,
            unnest($27::uuid[]) AS span_uuid, unnest($28::text[]) AS span_text
    ) AS new
    JOIN place USING (trace_id)
    ORDER BY place.seq, occurred_at, event_id
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM place
