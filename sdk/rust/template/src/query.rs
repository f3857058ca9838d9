//! Queries for traces as SQL, and page tokens.

use reflow_tracing_plugin::sql::Value;
use reflow_tracing_plugin::{PageRequest, Result, StorageError, TraceQuery};

/// The statement for a page, with its parameters: start time, id and body of the traces on it, and of one more.
pub fn select(query: TraceQuery, page: &PageRequest) -> Result<(String, Vec<Value>)> {
    // A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
    if let Some((name, _)) = query.more.first() {
        return Err(StorageError::Unsupported(format!("the predicate `{name}`")));
    }
    let mut conditions = vec!["true".to_owned()];
    let mut parameters = Vec::new();
    // All predicates that are present must hold.
    let mut and = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition.into());
            parameters.push(value);
        }
    };
    const HAS_EVENT: &str = "EXISTS (SELECT 1 FROM event e WHERE e.trace_id = trace.trace_id AND";
    and("flow_id = ?", query.flow_id.map(Value::from));
    and("execution_id = ?", query.execution_id.map(Value::from));
    and("start_time >= ?", query.start_from.map(Value::from));
    and("start_time <= ?", query.start_to.map(Value::from));
    and(
        "status = ?",
        query.status.map(|status| status.name().into()),
    );
    and("trace.error = ?", query.error.map(Value::from));
    and(
        &format!("{HAS_EVENT} instr(e.actor, ?) > 0)"),
        query.actor.map(Value::from),
    );
    and(
        "end_time - start_time >= ?",
        query.min_duration.map(Value::from),
    );
    and(
        "end_time - start_time <= ?",
        query.max_duration.map(Value::from),
    );
    if let Some(kinds) = query.event_types {
        let places = vec!["?"; kinds.len()].join(", ");
        conditions.push(format!("{HAS_EVENT} e.kind IN ({places}))"));
        parameters.extend(kinds.into_iter().map(Value::Text));
    }
    for (name, value) in query.tags {
        conditions.push("EXISTS (SELECT 1 FROM tag t WHERE t.trace_id = trace.trace_id AND name = ? AND value = ?)".into());
        parameters.extend([name.into(), value.into()]);
    }
    if let Some(wanted) = query.has_error {
        let failed = format!(
            "status = 'Failed' OR {HAS_EVENT} (e.kind = 'ActorFailed' OR e.error IS NOT NULL))"
        );
        conditions.push(if wanted {
            format!("({failed})")
        } else {
            format!("NOT ({failed})")
        });
    }

    // Equal starts are ordered by ascending id in both directions.
    let (beyond, direction) = if query.ascending {
        (">", "ASC")
    } else {
        ("<", "DESC")
    };
    if let Some(token) = &page.token {
        let (time, id) = place_of_token(token)?;
        conditions.push(format!(
            "(start_time {beyond} ? OR (start_time = ? AND trace_id > ?))"
        ));
        parameters.extend([time.clone(), time, id]);
    }
    let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
    parameters.extend([Value::Integer(i64::from(page.limit) + 1), offset.into()]);
    let statement = format!(
        "SELECT start_time, trace_id, body FROM trace WHERE {}
         ORDER BY start_time {direction}, trace_id LIMIT ? OFFSET ?",
        conditions.join(" AND ")
    );
    Ok((statement, parameters))
}

/// A page token: the time and the id of the last item. Any instance can continue from it, and concurrent writes and deletions
/// do not shift the next page.
pub fn token(time: i64, id: &[u8]) -> Vec<u8> {
    [&time.to_be_bytes(), id].concat()
}

/// The token to continue after this row of [`select`].
pub fn token_of_row(row: &[Value]) -> Option<Vec<u8>> {
    match row {
        [Value::Integer(time), Value::Blob(id), ..] => Some(token(*time, id)),
        _ => None,
    }
}

/// The time and the id in a token. Tokens come from clients, so they may be invalid.
pub fn place_of_token(token: &[u8]) -> Result<(Value, Value)> {
    match token.split_first_chunk::<8>() {
        Some((time, id)) if id.len() == 16 => {
            Ok((i64::from_be_bytes(*time).into(), id.to_vec().into()))
        }
        _ => Err(StorageError::InvalidArgument(
            "the page token is not valid: it must come from this plugin".into(),
        )),
    }
}
