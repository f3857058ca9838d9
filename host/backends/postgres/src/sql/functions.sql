-- What the views and an index call.

CREATE FUNCTION moment(nanoseconds bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT timestamptz 'epoch' + (nanoseconds / 1000) * interval '1 microsecond' $$;

-- jsonb can't contain U+0000; it becomes the replacement character.
CREATE FUNCTION shown(json text) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT replace(json, '\u0000', '\ufffd')::jsonb $$;

-- The unsigned number with these bits.
CREATE FUNCTION unsigned(bits bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN bits < 0 THEN bits + 18446744073709551616 ELSE coalesce(bits, 0) END $$;
