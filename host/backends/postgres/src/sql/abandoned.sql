-- The traces that only hosts without a valid lease hold.
SELECT host, trace_id
FROM held
WHERE NOT EXISTS (
    SELECT 1 FROM held AS any_holder JOIN lease ON lease.host = any_holder.host
    WHERE any_holder.trace_id = held.trace_id AND lease.expires_at > now()
)
LIMIT $1
