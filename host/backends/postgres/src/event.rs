//! Events as rows of the table `event`.

use std::borrow::Cow;

use reflow_tracing_model::TraceEvent;
use reflow_tracing_storage::sql::{EVENT_COLUMNS, EventColumns, EventRow, Value, read_event};
use sqlx::postgres::{PgArguments, PgBindIterExt, PgRow};
use sqlx::query::Query;
use sqlx::{Error, PgConnection, Row};
use uuid::Uuid;

use super::column::{invalid, optional_text, text};
use super::copy::{Rows, Tuple};
use super::escape::escape;
use super::header::Location;

/// Stores events with COPY: the fastest way, but it stores none of them if one is stored already.
pub(super) async fn copy(connection: &mut PgConnection, rows: &[(Location, &EventRow)]) -> sqlx::Result<()> {
    let mut copied = Rows::with_capacity(rows.iter().map(|(_, row)| row.bytes() + 200).sum());
    for (location, row) in rows {
        let mut tuple = copied.begin();
        tuple.number(Some(location.sequence));
        tuple.number(Some(location.placed_at));
        row.columns().into_iter().for_each(|value| write(&mut tuple, value));
        tuple.id(row.span_uuid);
        tuple.text(span_text(row));
        tuple.end();
    }
    copied.send(connection, include_str!("sql/copy_events.sql")).await
}

fn write(tuple: &mut Tuple<'_>, value: Value<'_>) {
    match value {
        Value::Id(id) => tuple.id(id.copied()),
        Value::Number(number) => tuple.number(number),
        Value::Real(number) => tuple.real(number),
        Value::Double(number) => tuple.double(number),
        Value::Text(text) => tuple.text(text.map(escape)),
        Value::Plain(text) => tuple.text(text),
        Value::Bytes(bytes) => tuple.bytes(bytes),
    }
}

/// Binds these rows, of which there is at least one, to the parameters of `sql/store_events.sql`: an array for each column.
pub(super) fn bind<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    rows: &[&EventRow],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let columns: Vec<_> = rows.iter().map(|row| row.columns()).collect();
    let mut query = query.bind(rows.iter().map(|row| row.trace_id.0).bind_iter());
    for (column, kind) in columns[0].iter().enumerate() {
        /// The values of the column, all of one kind.
        macro_rules! bind {
            ($kind:ident, $value:ident => $bound:expr) => {
                query.bind(
                    columns
                        .iter()
                        .map(|row| match row[column] {
                            Value::$kind($value) => $bound,
                            _ => None,
                        })
                        .bind_iter(),
                )
            };
        }
        query = match kind {
            Value::Id(_) => bind!(Id, id => id.copied()),
            Value::Number(_) => bind!(Number, number => number),
            Value::Real(_) => bind!(Real, number => number),
            Value::Double(_) => bind!(Double, number => number),
            Value::Text(_) => bind!(Text, text => text.map(escape)),
            Value::Plain(_) => bind!(Plain, text => text),
            Value::Bytes(_) => bind!(Bytes, bytes => bytes),
        };
    }
    query.bind(rows.iter().map(|row| row.span_uuid).bind_iter()).bind(rows.iter().map(|row| span_text(row)).bind_iter())
}

/// The span id if it is not stored as a UUID.
fn span_text(row: &EventRow) -> Option<Cow<'_, str>> {
    row.span_uuid.is_none().then(|| escape(row.span_id()))
}

/// The event in a row of `sql/get_events.sql`.
pub(super) fn read(row: &PgRow) -> sqlx::Result<TraceEvent> {
    read_event(&Columns(row))
}

struct Columns<'a>(&'a PgRow);

impl EventColumns for Columns<'_> {
    type Error = Error;

    fn id(&self, column: usize) -> sqlx::Result<Option<Uuid>> {
        self.0.try_get(column)
    }

    fn number(&self, column: usize) -> sqlx::Result<Option<i64>> {
        self.0.try_get(column)
    }

    fn real(&self, column: usize) -> sqlx::Result<Option<f32>> {
        self.0.try_get(column)
    }

    fn double(&self, column: usize) -> sqlx::Result<Option<f64>> {
        self.0.try_get(column)
    }

    fn text(&self, column: usize) -> sqlx::Result<Option<String>> {
        optional_text(self.0, column)
    }

    fn plain(&self, column: usize) -> sqlx::Result<Option<&str>> {
        self.0.try_get(column)
    }

    fn bytes(&self, column: usize) -> sqlx::Result<Option<Vec<u8>>> {
        self.0.try_get(column)
    }

    fn span_id(&self) -> sqlx::Result<String> {
        match self.id(EVENT_COLUMNS)? {
            Some(uuid) => Ok(uuid.to_string()),
            None => text(self.0, EVENT_COLUMNS + 1),
        }
    }

    fn invalid(&self, _column: usize, problem: String) -> Error {
        invalid(problem)
    }
}
