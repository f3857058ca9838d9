//! The values bound to the parameters of a statement: the plugin's own, or fields of events.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::error::refused;
use crate::contract::batch::{EventBatch, Row};
use crate::contract::bindings::reflow::capabilities::sql::{Binding, SqlError, Value};
use crate::contract::budget::Budget;
use crate::contract::field::{Field, FieldValue};

/// The longest statement, in bytes. Each connection keeps the last ones prepared.
const MAX_STATEMENT: usize = 256 * 1024;
/// The most parameters that any of the databases takes.
const MAX_BINDINGS: usize = 65_535;

/// A value on its way to a database.
pub(super) enum Input<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
    /// Bound as 16 bytes if the database has no UUID type.
    Uuid(Uuid),
}

impl<'a> From<&'a Value> for Input<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(truth) => Self::Boolean(*truth),
            Value::Integer(number) => Self::Integer(*number),
            Value::Real(number) => Self::Real(*number),
            Value::Text(text) => Self::Text(text.into()),
            Value::Blob(bytes) => Self::Blob(bytes.into()),
        }
    }
}

impl Input<'_> {
    fn into_owned(self) -> Input<'static> {
        match self {
            Self::Null => Input::Null,
            Self::Boolean(truth) => Input::Boolean(truth),
            Self::Integer(number) => Input::Integer(number),
            Self::Real(number) => Input::Real(number),
            Self::Text(text) => Input::Text(text.into_owned().into()),
            Self::Blob(bytes) => Input::Blob(bytes.into_owned().into()),
            Self::Uuid(uuid) => Input::Uuid(uuid),
        }
    }

    /// What a value takes in a row of the host, without its text or blob.
    pub(super) const PLACE: usize = size_of::<Value>();

    /// What the value takes in the host.
    pub(super) fn held(&self) -> usize {
        Self::PLACE
            + match self {
                Self::Text(text) => text.len(),
                Self::Blob(bytes) => bytes.len(),
                _ => 0,
            }
    }

    /// The bytes that it holds itself, rather than the event or the plugin's values.
    fn owned(&self) -> usize {
        match self {
            Self::Text(Cow::Owned(text)) => text.len(),
            Self::Blob(Cow::Owned(bytes)) => bytes.len(),
            _ => 0,
        }
    }

    /// The approximate size, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
            _ => 8,
        }
    }
}

/// Checks what a plugin passes before anything is done with it.
pub(super) fn check_arguments<'a>(
    statement: &str,
    values: impl IntoIterator<Item = &'a Value>,
    budget: &mut Budget,
) -> Result<(), SqlError> {
    check_statement(statement)?;
    Ok(budget.take_list(values.into_iter().map(|value| Input::from(value).held()))?)
}

/// The same for the arguments of a batch statement.
pub(super) fn check_bindings(statement: &str, bindings: &[Binding], budget: &mut Budget) -> Result<(), SqlError> {
    check_statement(statement)?;
    if bindings.len() > MAX_BINDINGS {
        return Err(SqlError::LimitExceeded(format!(
            "there are {} bindings; the maximum is {MAX_BINDINGS}, which is the most parameters that a statement has",
            bindings.len()
        )));
    }
    for binding in bindings {
        let bytes = match binding {
            Binding::Field(name) | Binding::High(name) | Binding::Low(name) => name.len(),
            Binding::Fixed(value) => Input::from(value).held(),
            Binding::LookedUp(lookup) => {
                check_statement(&lookup.statement)?;
                lookup.field.len() + lookup.statement.len()
            }
        };
        budget.take_list([bytes])?;
    }
    Ok(())
}

fn check_statement(statement: &str) -> Result<(), SqlError> {
    if statement.len() > MAX_STATEMENT {
        return Err(SqlError::LimitExceeded(format!(
            "the statement has {} bytes; the maximum is {MAX_STATEMENT}: pass values as parameters",
            statement.len()
        )));
    }
    Ok(())
}

/// Rows of parameters for one statement.
pub(super) struct InputRows<'a> {
    values: Vec<Input<'a>>,
    /// Values per row.
    width: usize,
    count: usize,
    lookups: Vec<Column<'a>>,
}

/// A column to look up. Until then, its values are the UUIDs to look up by.
struct Column<'a> {
    index: usize,
    statement: &'a str,
}

impl<'a> InputRows<'a> {
    /// Fails when the rows differ in length.
    pub(super) fn of_values(rows: &'a [Vec<Value>]) -> Result<Self, SqlError> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            return Err(refused(format!(
                "all rows need the same number of values, but one has {width} and another {}",
                row.len()
            )));
        }
        Ok(Self {
            values: rows.iter().flatten().map(Input::from).collect(),
            width,
            count: rows.len(),
            lookups: Vec::new(),
        })
    }

    pub(super) fn of_uuid(uuid: Uuid) -> Self {
        Self { values: vec![Input::Uuid(uuid)], width: 1, count: 1, lookups: Vec::new() }
    }

    pub(super) fn of_one(row: &'a [Value]) -> Self {
        Self { values: row.iter().map(Input::from).collect(), width: row.len(), count: 1, lookups: Vec::new() }
    }

    /// One row per event. Encodes the bodies, if they are bound. Fails when the values take more than `budget` has.
    pub(super) fn of_events(
        bindings: &'a [Binding],
        batch: &'a EventBatch,
        mut budget: Budget,
    ) -> Result<Self, SqlError> {
        let sources = bindings.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        let rows = batch.rows();
        let count = rows.len().saturating_mul(sources.len());
        budget.take(count.saturating_mul(size_of::<Input<'_>>()))?;
        let mut values = Vec::with_capacity(count);
        for row in rows {
            for source in &sources {
                let value = source.value(row);
                budget.take(value.owned())?;
                values.push(value);
            }
        }
        let looked_up = sources.iter().enumerate().filter_map(|(index, source)| match source {
            Source::LookedUp(_, statement) => Some(Column { index, statement }),
            _ => None,
        });
        Ok(Self { lookups: looked_up.collect(), width: sources.len(), count: rows.len(), values })
    }

    /// The number of columns to look up.
    pub(super) fn lookups(&self) -> usize {
        self.lookups.len()
    }

    /// The statements of the lookups.
    pub(super) fn lookup_statements(&self) -> impl Iterator<Item = &'a str> {
        self.lookups.iter().map(|column| column.statement)
    }

    /// The statement of a lookup, and its distinct UUIDs in the order of the rows.
    pub(super) fn lookup(&self, lookup: usize) -> (&'a str, Vec<Uuid>) {
        let Column { index, statement } = &self.lookups[lookup];
        let (mut seen, mut wanted) = (HashSet::new(), Vec::new());
        for row in 0..self.count {
            if let Input::Uuid(uuid) = self.row(row)[*index]
                // A shortcut: neighbours are mostly equal.
                && wanted.last() != Some(&uuid)
                && seen.insert(uuid)
            {
                wanted.push(uuid);
            }
        }
        (statement, wanted)
    }

    /// Replaces the UUIDs of a lookup by the values found.
    pub(super) fn resolve(&mut self, lookup: usize, found: &HashMap<Uuid, Value>) {
        let index = self.lookups[lookup].index;
        for value in self.values.iter_mut().skip(index).step_by(self.width) {
            if let Input::Uuid(uuid) = value {
                *value = found.get(uuid).map_or(Input::Null, |found| Input::from(found).into_owned());
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The values of a row.
    pub(super) fn row(&self, row: usize) -> &[Input<'a>] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// How many rows from `start` have at most `max_bytes` together; at least one.
    pub(super) fn fitting(&self, start: usize, max_bytes: usize) -> usize {
        let mut bytes = 0;
        let fitting = (start..self.count).take_while(|&row| {
            bytes += self.row(row).iter().map(Input::size).sum::<usize>();
            bytes <= max_bytes
        });
        fitting.count().max(1)
    }
}

/// The value that a lookup found.
pub(super) fn looked_up(statement: &str, uuid: Uuid, value: Option<Value>) -> Result<Value, SqlError> {
    value.ok_or_else(|| refused(format!("the lookup `{statement}` found nothing for {uuid}")))
}

/// Where a parameter of a batch statement comes from.
enum Source<'a> {
    Field(Field),
    High(Field),
    Low(Field),
    Fixed(&'a Value),
    LookedUp(Field, &'a str),
}

impl<'a> Source<'a> {
    fn new(binding: &'a Binding) -> Result<Self, SqlError> {
        let field = |name: &str| name.parse().map_err(refused);
        Ok(match binding {
            Binding::Field(name) => Self::Field(field(name)?),
            Binding::High(name) => Self::High(field(name)?),
            Binding::Low(name) => Self::Low(field(name)?),
            Binding::Fixed(value) => Self::Fixed(value),
            Binding::LookedUp(lookup) => match field(&lookup.field)? {
                field if field.is_uuid() => Self::LookedUp(field, &lookup.statement),
                _ => return Err(refused(format!("can't look up by `{}`, which is not a UUID", lookup.field))),
            },
        })
    }

    fn value(&self, row: &'a Row) -> Input<'a> {
        let half = |field, half: fn((u64, u64)) -> u64| match row.value(field) {
            FieldValue::Uuid(uuid) => Input::Integer(half(uuid.as_u64_pair()).cast_signed()),
            _ => Input::Null,
        };
        match self {
            Self::Field(field) | Self::LookedUp(field, _) => match row.value(*field) {
                FieldValue::Absent => Input::Null,
                FieldValue::Uuid(uuid) => Input::Uuid(uuid),
                FieldValue::Integer(number) => Input::Integer(number),
                FieldValue::Text(text) => Input::Text(text),
                FieldValue::Blob(bytes) => Input::Blob(bytes.into()),
            },
            Self::High(field) => half(*field, |(high, _)| high),
            Self::Low(field) => half(*field, |(_, low)| low),
            Self::Fixed(value) => (*value).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use reflow_tracing_model::{TraceEvent, TraceId};

    use super::*;
    use crate::contract::flows::Flows;

    fn batch(events: usize) -> EventBatch {
        EventBatch::new(vec![(TraceId::new(), TraceEvent::default()); events], &Flows::default())
    }

    #[test]
    fn values_of_a_batch_are_counted_before_they_are_made() {
        let batch = batch(10);
        let bindings = |name: &str| vec![Binding::Field(name.into()); 10];
        let made = |bindings: &[Binding], bytes| {
            InputRows::of_events(bindings, &batch, Budget::of_bytes(bytes)).map(|rows| rows.count())
        };
        let places = 100 * size_of::<Input<'_>>();
        assert_eq!(made(&bindings("port"), places).unwrap(), 10);
        assert!(matches!(made(&bindings("port"), places - 1), Err(SqlError::LimitExceeded(_))));
        assert!(matches!(made(&bindings("body"), places), Err(SqlError::LimitExceeded(_))));
        assert!(made(&bindings("body"), places + 100 * 200).is_ok());
    }

    #[test]
    fn arguments_that_are_too_many_or_too_large_are_refused() {
        let budget = || Budget::of_bytes(1_000);
        let refused = |result: Result<(), SqlError>, part: &str| match result {
            Err(SqlError::LimitExceeded(problem)) => assert!(problem.contains(part), "{problem}"),
            other => panic!("{other:?}"),
        };
        refused(check_arguments(&"x".repeat(MAX_STATEMENT + 1), [], &mut budget()), "the statement has 262145 bytes");
        refused(check_arguments("", &vec![Value::Null; 20], &mut budget()), "limits.result_mb");
        refused(check_bindings("", &vec![Binding::Fixed(Value::Null); 65_536], &mut budget()), "65536 bindings");
        refused(check_bindings("", &vec![Binding::Field("port".into()); 20], &mut budget()), "limits.result_mb");
        check_bindings("", &vec![Binding::Field("port".into()); 5], &mut budget()).unwrap();
    }
}
