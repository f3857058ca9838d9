-- Stores the events of those traces in $1 that exist, and returns their number. Adds the unknown traces ($2) first, with the
-- partitions of the times in $3. The row locks prevent deletions until the commit. Doesn't find a trace that another writer adds
-- meanwhile. All writers insert in the same order, which prevents deadlocks.
WITH added AS (
    INSERT INTO trace (trace_id, placed_at)
    SELECT trace_id, placed_at FROM unnest($2::uuid[], $3::bigint[]) AS new (trace_id, placed_at)
    ORDER BY trace_id
    ON CONFLICT DO NOTHING
    RETURNING trace_id, seq, placed_at
), found AS MATERIALIZED (
    SELECT trace_id, seq, placed_at FROM trace WHERE trace_id = ANY($1) ORDER BY trace_id FOR KEY SHARE
), place AS MATERIALIZED (
    SELECT trace_id, seq, placed_at FROM added
    UNION ALL
    SELECT trace_id, seq, placed_at FROM found
), stored AS (
    INSERT INTO event (
        trace, placed_at, event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
        message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
        execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
        attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_uuid, span_text
    )
    SELECT
        place.seq, place.placed_at, event_id, occurred_at, kind, actor, to_actor, to_port, port, error,
        message_type, message_size, message_checksum, message_data, state_kind, state_before, state_after,
        execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, throughput,
        attributes, parent_event_id, root_event_id, dependency_chain, unmeasured, more, span_uuid, span_text
    FROM (
        SELECT
            unnest($4::uuid[]) AS trace_id, unnest($5::uuid[]) AS event_id, unnest($6::bigint[]) AS occurred_at,
            unnest($7::text[]) AS kind, unnest($8::text[]) AS actor, unnest($9::text[]) AS to_actor,
            unnest($10::text[]) AS to_port, unnest($11::text[]) AS port, unnest($12::text[]) AS error,
            unnest($13::text[]) AS message_type, unnest($14::bigint[]) AS message_size,
            unnest($15::text[]) AS message_checksum, unnest($16::bytea[]) AS message_data,
            unnest($17::text[]) AS state_kind, unnest($18::bytea[]) AS state_before,
            unnest($19::bytea[]) AS state_after, unnest($20::bigint[]) AS execution_time_ns,
            unnest($21::bigint[]) AS memory_usage_bytes, unnest($22::real[]) AS cpu_usage_percent,
            unnest($23::bigint[]) AS queue_depth, unnest($24::double precision[]) AS throughput,
            unnest($25::text[]) AS attributes, unnest($26::uuid[]) AS parent_event_id,
            unnest($27::uuid[]) AS root_event_id, unnest($28::bytea[]) AS dependency_chain,
            unnest($29::bigint[]) AS unmeasured, unnest($30::text[]) AS more,
            unnest($31::uuid[]) AS span_uuid, unnest($32::text[]) AS span_text
    ) AS new
    JOIN place USING (trace_id)
    WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL -- see catalog.rs
    ORDER BY place.seq, occurred_at, event_id
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM place
