-- The locations of the traces in $1. The transaction holds the lock that prevents deletions.
SELECT seq, placed_at, trace_id FROM trace WHERE trace_id = ANY($1)
