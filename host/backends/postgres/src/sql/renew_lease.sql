-- Extends the lease of the host $1 by $2 seconds. Returns whether it was valid. Forgets expired leases of hosts that hold nothing.
WITH before AS (
    SELECT expires_at FROM lease WHERE host = $1
), renewed AS (
    INSERT INTO lease (host, expires_at) VALUES ($1, now() + $2 * interval '1 second')
    ON CONFLICT (host) DO UPDATE SET expires_at = excluded.expires_at
), forgotten AS (
    DELETE FROM lease
    WHERE host <> $1 AND expires_at <= now() AND NOT EXISTS (SELECT 1 FROM held WHERE held.host = lease.host)
)
SELECT coalesce((SELECT expires_at > now() FROM before), false)
