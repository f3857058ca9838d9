-- The lock keeps anyone from deleting them until this is committed.
SELECT seq, placed_at, trace_id FROM trace WHERE trace_id = ANY($1) ORDER BY trace_id FOR KEY SHARE
