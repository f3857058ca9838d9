-- Changes nothing about a trace that is there; `DO NOTHING` would not answer with its number.
INSERT INTO trace (trace_id) VALUES (?)
ON CONFLICT (trace_id) DO UPDATE SET trace_id = excluded.trace_id
RETURNING seq
