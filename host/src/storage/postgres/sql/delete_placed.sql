-- In parts, so that no transaction holds many locks for long. Their events go with their partition.
DELETE FROM trace
WHERE seq IN (SELECT seq FROM trace WHERE placed_at >= $1 AND placed_at < $2 ORDER BY placed_at LIMIT $3 FOR UPDATE)
