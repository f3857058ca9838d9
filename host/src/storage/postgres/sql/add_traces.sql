-- Makes a place for traces of which nothing is known yet.
INSERT INTO trace (trace_id, placed_at)
SELECT trace_id, placed_at FROM unnest($1::uuid[], $2::bigint[]) AS new (trace_id, placed_at)
ORDER BY trace_id
ON CONFLICT DO NOTHING
RETURNING seq, placed_at, trace_id
