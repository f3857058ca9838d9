SELECT trace_id
FROM trace
WHERE start_time IS NULL
    -- The first condition is what the index can seek to.
    AND trace_id >= coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
    AND ($1 IS NULL OR trace_id > $1)
ORDER BY trace_id
LIMIT $2
