-- Where the traces in $1 are. The transaction holds the lock that keeps others from deleting any of them.
SELECT seq, placed_at, trace_id FROM trace WHERE trace_id = ANY($1)
