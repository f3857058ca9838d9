-- The partitions of `event`: name, bounds, and whether a detachment was started but not completed.
SELECT quote_ident(class.relname), pg_get_expr(class.relpartbound, class.oid), inherits.inhdetachpending
FROM pg_inherits inherits
JOIN pg_class class ON class.oid = inherits.inhrelid
WHERE inherits.inhparent = 'event'::regclass
