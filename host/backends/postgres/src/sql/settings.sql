-- The settings in $1: the value in the setting's unit, the unit, whether a change needs a restart, the source of the value,
-- whether a change waits for a restart, and the value for display.
SELECT name, setting, unit, context = 'postmaster', source, pending_restart, current_setting(name)
FROM pg_settings
WHERE name = ANY($1)
