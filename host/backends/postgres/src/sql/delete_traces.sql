-- All deletions lock in this order, which prevents deadlocks.
DELETE FROM trace
WHERE seq IN (SELECT seq FROM trace WHERE trace_id = ANY($1) ORDER BY start_time, seq FOR UPDATE)
RETURNING seq, placed_at
