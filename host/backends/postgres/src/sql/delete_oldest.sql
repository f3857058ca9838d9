-- In batches, so that no transaction holds many locks for long.
DELETE FROM trace
WHERE seq IN (SELECT seq FROM trace WHERE start_time < $1 ORDER BY start_time LIMIT $2 FOR UPDATE)
RETURNING seq, placed_at
