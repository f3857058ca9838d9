-- In batches, so that no transaction holds many locks for long. The events are dropped with their partition.
DELETE FROM trace
WHERE seq IN (SELECT seq FROM trace WHERE placed_at < $1 ORDER BY placed_at LIMIT $2 FOR UPDATE)
