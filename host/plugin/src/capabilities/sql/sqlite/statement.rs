//! Statements on one connection, on a blocking thread.

use std::collections::HashMap;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, Statement};
use uuid::Uuid;

use super::super::cursor::{FETCH_BYTES, Rows};
use super::super::database::{MAX_VALUE_BYTES, unreadable};
use super::super::error::{no_such_column, row_too_large, wrong_number_of_parameters};
use super::super::input::{Input, InputRows, looked_up};
use super::super::repeated::Repeated;
use super::work::Running;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};
use crate::contract::budget::Budget;

/// Runs a statement, or several without parameters. Returns the number of rows that the last one changed.
pub(super) fn execute(connection: &Connection, statement: &str, params: &[Value]) -> Result<u64, SqlError> {
    if params.is_empty() {
        let mut batch = Batch::new(connection, statement);
        let mut changed = 0;
        while let Some(mut statement) = batch.next()? {
            expect_parameters(&statement, 0)?;
            changed = run(connection, &mut statement)?;
        }
        return Ok(changed);
    }
    let mut prepared = connection.prepare_cached(statement)?;
    bind(&mut prepared, params)?;
    run(connection, &mut prepared)
}

/// Runs a statement once per row. A repeated group is not expanded, because SQLite gains nothing from it.
pub(super) fn execute_rows(connection: &Running<'_>, statement: &str, rows: &InputRows<'_>) -> Result<u64, SqlError> {
    let of_one_row = Repeated::find(statement).map(|repeated| repeated.times(1));
    let mut prepared = connection.prepare_cached(of_one_row.as_deref().unwrap_or(statement))?;
    if rows.count() > 0 {
        expect_parameters(&prepared, rows.width())?;
    }
    let before = connection.total_changes();
    for row in 0..rows.count() {
        connection.check()?;
        for (index, value) in rows.row(row).iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, to_sql(value))?;
        }
        exhaust(&mut prepared)?;
    }
    Ok(connection.total_changes() - before)
}

/// Runs a lookup for each UUID.
pub(super) fn look_up(
    connection: &Running<'_>,
    statement: &str,
    wanted: Vec<Uuid>,
) -> Result<HashMap<Uuid, Value>, SqlError> {
    let mut prepared = connection.prepare_cached(statement)?;
    expect_parameters(&prepared, 1)?;
    let mut found = HashMap::with_capacity(wanted.len());
    for uuid in wanted {
        connection.check()?;
        prepared.raw_bind_parameter(1, to_sql(&Input::Uuid(uuid)))?;
        let (mut page, _) = fetch(&mut prepared.raw_query(), 1)?;
        let value = page.pop().and_then(|row| row.into_iter().next());
        found.insert(uuid, looked_up(statement, uuid, value)?);
    }
    Ok(found)
}

/// The events whose bodies are in column `body` of the answer.
pub(super) fn query_events(
    connection: &Connection,
    statement: &str,
    params: &[Value],
    body: u32,
    mut budget: Budget,
) -> Result<EventBatch, SqlError> {
    let mut prepared = connection.prepare_cached(statement)?;
    let columns = prepared.column_count();
    if body as usize >= columns {
        return Err(no_such_column(body, columns));
    }
    bind(&mut prepared, params)?;
    let mut batch = EventBatch::default();
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next()? {
        match row.get_ref(body as usize)? {
            ValueRef::Blob(stored) => batch.read(stored, &mut budget).map_err(unreadable)?,
            other => {
                let kind = other.data_type();
                return Err(SqlError::Conversion(format!(
                    "column {body} has the type {kind}, so it can't hold the body of an event"
                )));
            }
        }
    }
    Ok(batch)
}

/// Runs `work`, and rolls it back when it fails.
pub(super) fn atomically<T>(
    connection: &Running<'_>,
    work: impl FnOnce(&Running<'_>) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    // Within a transaction, a savepoint rolls back only this call.
    let (begin, commit, undo) = if connection.is_autocommit() {
        ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
    } else {
        ("SAVEPOINT call", "RELEASE call", "ROLLBACK TO call; RELEASE call")
    };
    let run = |sql| -> Result<(), SqlError> { Ok(connection.execute_batch(sql)?) };
    run(begin)?;
    let result = work(connection).and_then(|value| run(commit).map(|()| value));
    if result.is_err() {
        // Fails only when SQLite has already rolled back.
        let _ = run(undo);
    }
    result
}

/// Binds one row of values.
pub(super) fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), SqlError> {
    expect_parameters(statement, params.len())?;
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, to_sql(&value.into()))?;
    }
    Ok(())
}

fn expect_parameters(statement: &Statement<'_>, given: usize) -> Result<(), SqlError> {
    let wanted = statement.parameter_count();
    if wanted == given {
        return Ok(());
    }
    Err(wrong_number_of_parameters(wanted, given))
}

/// Runs the statement to its end. Returns the number of rows that it changed.
fn run(connection: &Connection, statement: &mut Statement<'_>) -> Result<u64, SqlError> {
    let before = connection.total_changes();
    exhaust(statement)?;
    Ok(connection.total_changes() - before)
}

/// Steps through all rows of the answer.
fn exhaust(statement: &mut Statement<'_>) -> Result<(), SqlError> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// At most `max_rows` rows, fewer when they are large, and whether they are the last.
pub(super) fn fetch(rows: &mut rusqlite::Rows<'_>, max_rows: usize) -> Result<(Rows, bool), SqlError> {
    let columns = rows.as_ref().map_or(0, Statement::column_count);
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < max_rows && bytes < FETCH_BYTES {
        let Some(row) = rows.next()? else {
            return Ok((page, true));
        };
        let (mut values, before) = (Vec::with_capacity(columns), bytes);
        for column in 0..columns {
            let value = from_sql(row.get_ref(column)?)?;
            bytes += Input::from(&value).held();
            if bytes - before > MAX_VALUE_BYTES + columns * Input::PLACE {
                return Err(row_too_large(MAX_VALUE_BYTES));
            }
            values.push(value);
        }
        page.push(values);
    }
    Ok((page, false))
}

fn to_sql<'a>(value: &'a Input<'_>) -> ToSqlOutput<'a> {
    ToSqlOutput::Borrowed(match value {
        Input::Null => ValueRef::Null,
        Input::Boolean(truth) => ValueRef::Integer((*truth).into()),
        Input::Integer(number) => ValueRef::Integer(*number),
        Input::Real(number) => ValueRef::Real(*number),
        Input::Text(text) => ValueRef::Text(text.as_bytes()),
        Input::Blob(bytes) => ValueRef::Blob(bytes),
        Input::Uuid(uuid) => ValueRef::Blob(uuid.as_bytes()),
    })
}

fn from_sql(value: ValueRef<'_>) -> Result<Value, SqlError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(error) => return Err(SqlError::Conversion(format!("a text is not valid UTF-8: {error}"))),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}
