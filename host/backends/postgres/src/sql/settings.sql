-- Of the settings in $1: the value in the unit of its own, that unit, when a change takes effect, where the value comes from,
-- whether a change waits for the server's next start, the value in words.
SELECT name, setting, unit, context = 'postmaster', source, pending_restart, current_setting(name)
FROM pg_settings
WHERE name = ANY($1)
