//! Statements on one connection, on a thread that may block.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, Statement};

use super::sqlite::describe;
use super::{Binding, Rows, SqlError, Value, refused};
use crate::plugin::batch::{EventBatch, Field, FieldValue, Row};
use crate::plugin::body::DecodeError;

/// Runs a statement, or several without parameters. The rows that the last one changed.
pub(super) fn execute(connection: &Connection, statement: &str, params: &[Value]) -> Result<u64, SqlError> {
    if params.is_empty() {
        let mut batch = Batch::new(connection, statement);
        let mut changed = 0;
        while let Some(mut statement) = batch.next().map_err(|error| describe(&error))? {
            expect_parameters(&statement, 0)?;
            changed = run(connection, &mut statement)?;
        }
        return Ok(changed);
    }
    let mut prepared = connection.prepare_cached(statement).map_err(|error| describe(&error))?;
    bind(&mut prepared, params)?;
    run(connection, &mut prepared)
}

/// Runs a statement once a row.
pub(super) fn execute_many(connection: &Connection, statement: &str, rows: &[Vec<Value>]) -> Result<u64, SqlError> {
    let mut prepared = connection.prepare_cached(statement).map_err(|error| describe(&error))?;
    let mut changed = 0;
    for row in rows {
        bind(&mut prepared, row)?;
        changed += run(connection, &mut prepared)?;
    }
    Ok(changed)
}

/// Runs a statement once an event.
pub(super) fn insert_batch(
    connection: &Connection,
    statement: &str,
    bindings: &[Binding],
    batch: &EventBatch,
) -> Result<u64, SqlError> {
    let sources = bindings.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
    let mut prepared = connection.prepare_cached(statement).map_err(|error| describe(&error))?;
    expect_parameters(&prepared, sources.len())?;
    let mut changed = 0;
    for row in batch.rows() {
        for (index, source) in sources.iter().enumerate() {
            source.bind(&mut prepared, index + 1, row).map_err(|error| describe(&error))?;
        }
        changed += run(connection, &mut prepared)?;
    }
    Ok(changed)
}

/// The events whose bodies stand in column `body` of the answer.
pub(super) fn query_events(
    connection: &Connection,
    statement: &str,
    params: &[Value],
    body: u32,
    max_bytes: usize,
) -> Result<EventBatch, SqlError> {
    let mut prepared = connection.prepare_cached(statement).map_err(|error| describe(&error))?;
    let columns = prepared.column_count();
    if body as usize >= columns {
        return Err(refused(format!("column {body} for the bodies: the answer has {columns} columns")));
    }
    bind(&mut prepared, params)?;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next().map_err(|error| describe(&error))? {
        match row.get_ref(body as usize).map_err(|error| describe(&error))? {
            ValueRef::Blob(stored) => bodies.push(stored.to_vec()),
            other => {
                let kind = other.data_type();
                return Err(SqlError::Conversion(format!("column {body} holds {kind}, not the body of an event")));
            }
        }
        bytes += bodies.last().map_or(0, Vec::len);
        if bytes > max_bytes {
            return Err(SqlError::LimitExceeded(format!("an answer of over {max_bytes} bytes: ask for pages")));
        }
    }
    EventBatch::from_bodies(bodies.iter().map(Vec::as_slice))
        .map_err(|error: DecodeError| SqlError::Conversion(error.to_string()))
}

/// Runs `work`, and undoes what it did when it fails.
pub(super) fn atomically<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    // Within a transaction, only what this call did is undone; without one, it is one.
    let (begin, commit, undo) = if connection.is_autocommit() {
        ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
    } else {
        ("SAVEPOINT call", "RELEASE call", "ROLLBACK TO call; RELEASE call")
    };
    let run = |sql| connection.execute_batch(sql).map_err(|error| describe(&error));
    run(begin)?;
    let result = work(connection).and_then(|value| run(commit).map(|()| value));
    if result.is_err() {
        // Fails only when SQLite has rolled back by itself.
        let _ = run(undo);
    }
    result
}

/// Binds one row of values.
pub(super) fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), SqlError> {
    expect_parameters(statement, params.len())?;
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, to_sql(value)).map_err(|error| describe(&error))?;
    }
    Ok(())
}

fn expect_parameters(statement: &Statement<'_>, given: usize) -> Result<(), SqlError> {
    let wanted = statement.parameter_count();
    if wanted == given {
        return Ok(());
    }
    Err(refused(format!("the statement has {wanted} parameters, {given} were given")))
}

/// Steps through whatever the statement answers. The rows that it changed.
fn run(connection: &Connection, statement: &mut Statement<'_>) -> Result<u64, SqlError> {
    let before = connection.total_changes();
    let mut rows = statement.raw_query();
    while rows.next().map_err(|error| describe(&error))?.is_some() {}
    Ok(connection.total_changes() - before)
}

/// At most `max_rows` rows, fewer when they are large; whether these were the last.
pub(super) fn fetch(rows: &mut rusqlite::Rows<'_>, max_rows: usize) -> Result<(Rows, bool), SqlError> {
    /// Enough that calls don't matter, little enough for the memory of a small plugin.
    const PAGE_BYTES: usize = 1024 * 1024;
    let columns = rows.as_ref().map_or(0, Statement::column_count);
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < max_rows && bytes < PAGE_BYTES {
        let Some(row) = rows.next().map_err(|error| describe(&error))? else {
            return Ok((page, true));
        };
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            let value = from_sql(row.get_ref(column).map_err(|error| describe(&error))?)?;
            bytes += size(&value);
            values.push(value);
        }
        page.push(values);
    }
    Ok((page, false))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 8,
    }
}

fn to_sql(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Boolean(truth) => ValueRef::Integer((*truth).into()),
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

fn from_sql(value: ValueRef<'_>) -> Result<Value, SqlError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(error) => return Err(SqlError::Conversion(format!("a text that is no Unicode: {error}"))),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

/// Where a parameter of a batch statement comes from.
enum Source<'a> {
    Field(Field),
    High(Field),
    Low(Field),
    Fixed(&'a Value),
}

impl<'a> Source<'a> {
    fn new(binding: &'a Binding) -> Result<Self, SqlError> {
        let field = |name: &str| name.parse().map_err(refused);
        Ok(match binding {
            Binding::Field(name) => Self::Field(field(name)?),
            Binding::High(name) => Self::High(field(name)?),
            Binding::Low(name) => Self::Low(field(name)?),
            Binding::Fixed(value) => Self::Fixed(value),
        })
    }

    fn bind(&self, statement: &mut Statement<'_>, index: usize, row: &Row) -> rusqlite::Result<()> {
        let half = |field, half: fn((u64, u64)) -> u64| match row.value(field) {
            FieldValue::Uuid(uuid) => ValueRef::Integer(half(uuid.as_u64_pair()).cast_signed()),
            _ => ValueRef::Null,
        };
        let mut bind = |value: ValueRef<'_>| statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(value));
        match self {
            Self::Field(field) => match row.value(*field) {
                FieldValue::Absent => bind(ValueRef::Null),
                FieldValue::Uuid(uuid) => bind(ValueRef::Blob(uuid.as_bytes())),
                FieldValue::Integer(number) => bind(ValueRef::Integer(number)),
                FieldValue::Text(text) => bind(ValueRef::Text(text.as_bytes())),
                FieldValue::Blob(bytes) => bind(ValueRef::Blob(&bytes)),
            },
            Self::High(field) => bind(half(*field, |(high, _)| high)),
            Self::Low(field) => bind(half(*field, |(_, low)| low)),
            Self::Fixed(value) => statement.raw_bind_parameter(index, to_sql(value)),
        }
    }
}
