-- Former partitions of `event` that are to be dropped.
SELECT quote_ident(class.relname)
FROM pg_class class
WHERE class.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'event'::regclass)
    AND class.relkind = 'r'
    AND NOT class.relispartition
    AND obj_description(class.oid, 'pg_class') = $1
