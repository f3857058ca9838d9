//! An event as a row of the table `event`.

use std::iter::once;

use reflow_tracing_model::TraceEvent;
use reflow_tracing_storage::sql::{EVENT_COLUMNS, EventColumns, EventRow, Value, read_event};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Error, Row, Statement, params_from_iter};
use uuid::Uuid;

use crate::column::{id, invalid, optional_id};

/// Runs `sql/store_event.sql`.
pub(super) fn store(row: &EventRow, statement: &mut Statement<'_>, sequence: i64) -> rusqlite::Result<()> {
    let span_id = match &row.span_uuid {
        Some(uuid) => ValueRef::Blob(uuid.as_bytes()),
        None => ValueRef::Text(row.span_id().as_bytes()),
    };
    let values = once(ValueRef::Integer(sequence)).chain(row.columns().map(to_sql)).chain(once(span_id));
    statement.execute(params_from_iter(values.map(ToSqlOutput::Borrowed)))?;
    Ok(())
}

fn to_sql(value: Value<'_>) -> ValueRef<'_> {
    let value = match value {
        Value::Id(id) => id.map(|id| ValueRef::Blob(id.as_bytes())),
        Value::Number(number) => number.map(ValueRef::Integer),
        Value::Real(number) => number.map(|number| ValueRef::Real(number.into())),
        Value::Double(number) => number.map(ValueRef::Real),
        Value::Text(text) | Value::Plain(text) => text.map(|text| ValueRef::Text(text.as_bytes())),
        Value::Bytes(bytes) => bytes.map(ValueRef::Blob),
    };
    value.unwrap_or(ValueRef::Null)
}

/// The event in a row of `sql/get_events.sql`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<TraceEvent> {
    read_event(&Columns(row))
}

struct Columns<'a, 'b>(&'a Row<'b>);

impl EventColumns for Columns<'_, '_> {
    type Error = Error;

    fn id(&self, column: usize) -> rusqlite::Result<Option<Uuid>> {
        optional_id(self.0, column)
    }

    fn number(&self, column: usize) -> rusqlite::Result<Option<i64>> {
        self.0.get(column)
    }

    fn real(&self, column: usize) -> rusqlite::Result<Option<f32>> {
        // It was an f32 when it was stored, so the conversion is exact.
        Ok(self.double(column)?.map(|number| number as f32))
    }

    fn double(&self, column: usize) -> rusqlite::Result<Option<f64>> {
        self.0.get(column)
    }

    fn text(&self, column: usize) -> rusqlite::Result<Option<String>> {
        self.0.get(column)
    }

    fn plain(&self, column: usize) -> rusqlite::Result<Option<&str>> {
        self.0.get_ref(column)?.as_str_or_null().map_err(|error| invalid(column, error))
    }

    fn bytes(&self, column: usize) -> rusqlite::Result<Option<Vec<u8>>> {
        self.0.get(column)
    }

    fn span_id(&self) -> rusqlite::Result<String> {
        match self.0.get_ref(EVENT_COLUMNS)? {
            ValueRef::Blob(_) => Ok(id(self.0, EVENT_COLUMNS)?.to_string()),
            _ => self.0.get(EVENT_COLUMNS),
        }
    }

    fn invalid(&self, column: usize, problem: String) -> Error {
        invalid(column, problem)
    }
}
