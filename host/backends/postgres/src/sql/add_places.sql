-- Where the traces in $1 are. Those of which nothing is known yet ($2) get a place first, at the times in $3. One that
-- another writer adds meanwhile is not found. The transaction holds the lock that keeps others from deleting any of them.
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
