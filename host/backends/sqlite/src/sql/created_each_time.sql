SELECT sql FROM sqlite_schema WHERE name IN ('traces', 'trace_events', 'lease', 'held')
