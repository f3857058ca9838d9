SELECT trace_id
FROM trace
WHERE start_time IS NULL
    -- The index can seek to the first condition.
    AND trace_id >= coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
    AND ($1 IS NULL OR trace_id > $1)
ORDER BY trace_id
LIMIT $2
