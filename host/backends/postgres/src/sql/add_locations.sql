-- The locations of the traces in $1. Adds the unknown traces ($2) first, with the partitions of the times in $3. Doesn't
-- find a trace that another writer adds meanwhile. The transaction holds the lock that prevents deletions.
WITH added AS (
    INSERT INTO trace (trace_id, placed_at)
    SELECT trace_id, placed_at FROM unnest($2::uuid[], $3::bigint[]) AS new (trace_id, placed_at)
    ORDER BY trace_id
    ON CONFLICT DO NOTHING
    RETURNING seq, placed_at, trace_id
), found AS MATERIALIZED (
    SELECT seq, placed_at, trace_id FROM trace WHERE trace_id = ANY($1)
)
SELECT seq, placed_at, trace_id FROM added
UNION ALL
SELECT seq, placed_at, trace_id FROM found
