//! `reflow:storage/batch`: batches of events behind handles.

use wasmtime::component::Resource;

use super::state::HostState;
use crate::contract::batch::{EventBatch, Row};
use crate::contract::bindings::reflow::storage::batch::{Blobs, Column, Host, HostEventBatch, Texts};
use crate::contract::bindings::reflow::storage::types;
use crate::contract::budget::{Budget, OverBudget};
use crate::contract::convert;
use crate::contract::field::{Field, FieldValue};
use crate::runtime::cpu::Pace;

impl Host for HostState {}

impl types::Host for HostState {}

impl HostEventBatch for HostState {
    fn new(&mut self) -> wasmtime::Result<Resource<EventBatch>> {
        Ok(self.table.push(EventBatch::default())?)
    }

    fn len(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.batch(&batch)?.rows().len())?)
    }

    async fn columns(
        &mut self,
        batch: Resource<EventBatch>,
        names: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Column>, String>> {
        let rows = self.batch(&batch)?.rows();
        let fields = match distinct(&names) {
            Ok(fields) => fields,
            Err(problem) => return Ok(Err(problem)),
        };
        let (mut budget, mut pace) = (self.budget(), self.pace());
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            match column(rows, field, &mut budget, &mut pace).await? {
                Ok(column) => columns.push(column),
                Err(problem) => {
                    return Ok(Err(format!(
                        "the columns of these {} events: {problem}; or pass the batch to a capability",
                        rows.len()
                    )));
                }
            }
        }
        Ok(Ok(columns))
    }

    fn present(&mut self, batch: Resource<EventBatch>, field: String) -> wasmtime::Result<Result<Vec<bool>, String>> {
        let rows = self.batch(&batch)?.rows();
        Ok(field.parse().map(|field| rows.iter().map(|row| row.has(field)).collect()))
    }

    async fn events(
        &mut self,
        batch: Resource<EventBatch>,
        offset: u32,
        limit: u32,
    ) -> wasmtime::Result<Vec<types::Event>> {
        let rows = self.batch(&batch)?.rows();
        let rows = rows.iter().skip(offset as usize).take(limit as usize);
        let (mut budget, mut pace) = (self.budget(), self.pace());
        let mut events = Vec::new();
        for row in rows {
            let event = convert::event(row);
            let bytes = size_of::<types::Event>() + event.actor_id.len() + event.body.len();
            // The function has no error.
            budget.take(bytes)?;
            pace.step(bytes).await?;
            events.push(event);
        }
        Ok(events)
    }

    async fn push(&mut self, batch: Resource<EventBatch>, bodies: Blobs) -> wasmtime::Result<Result<(), String>> {
        self.batch(&batch)?;
        let (mut budget, mut pace) = (self.budget(), self.pace());
        let before = budget.left();
        let mut added = Vec::new();
        let bodies = match split(&bodies) {
            Ok(bodies) => bodies,
            Err(problem) => return Ok(Err(problem)),
        };
        for body in bodies {
            match Row::of_body(body, &mut budget) {
                Ok(row) => added.push(row),
                Err(problem) => return Ok(Err(problem.to_string())),
            }
            pace.step(body.len()).await?;
        }
        let bytes = before - budget.left();
        // It is not shared: no capability keeps a batch beyond its call.
        if !self.table.get_mut(&batch)?.append(added, bytes) {
            return Ok(Err("the batch is in use".into()));
        }
        Ok(self.reserve(bytes).map_err(|problem| problem.to_string()))
    }

    fn drop(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<()> {
        self.remove_batch(batch)?;
        Ok(())
    }
}

/// The fields with these names. Fails on a name that is not a field, and on one that is there twice.
fn distinct(names: &[String]) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for name in names {
        let field = name.parse()?;
        if fields.contains(&field) {
            return Err(format!("the field `{name}` is requested twice: use its column twice instead"));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// The values of one field. The inner error says that they have more bytes than the budget.
async fn column(
    rows: &[Row],
    field: Field,
    budget: &mut Budget,
    pace: &mut Pace,
) -> wasmtime::Result<Result<Column, OverBudget>> {
    /// A number, or the end of a text.
    const VALUE: usize = 8;
    let mut column = match field {
        Field::TraceId | Field::EventId | Field::ParentEventId => Column::Uuids(Vec::new()),
        Field::Timestamp | Field::MessageSize | Field::ExecutionTimeNs => Column::Integers(Vec::new()),
        Field::EventType
        | Field::ActorId
        | Field::Port
        | Field::Error
        | Field::SpanId
        | Field::MessageType
        | Field::ToActor
        | Field::ToPort
        | Field::FlowId
        | Field::Attributes
        | Field::Json => Column::Texts(Texts { text: String::new(), ends: Vec::with_capacity(rows.len()) }),
        Field::Body => Column::Blobs(Blobs { data: Vec::new(), ends: Vec::with_capacity(rows.len()) }),
    };
    for row in rows {
        let value = row.value(field);
        let bytes = VALUE
            + match &value {
                FieldValue::Text(text) => text.len(),
                FieldValue::Blob(bytes) => bytes.len(),
                FieldValue::Uuid(_) => VALUE,
                FieldValue::Absent | FieldValue::Integer(_) => 0,
            };
        if let Err(problem) = budget.take(bytes) {
            return Ok(Err(problem));
        }
        pace.step(bytes).await?;
        match (&mut column, value) {
            (Column::Uuids(halves), FieldValue::Uuid(uuid)) => halves.extend(<[u64; 2]>::from(uuid.as_u64_pair())),
            (Column::Uuids(halves), _) => halves.extend([0, 0]),
            (Column::Integers(numbers), FieldValue::Integer(number)) => numbers.push(number),
            (Column::Integers(numbers), _) => numbers.push(0),
            (Column::Texts(texts), value) => {
                if let FieldValue::Text(text) = value {
                    texts.text.push_str(&text);
                }
                texts.ends.push(texts.text.len() as u32);
            }
            (Column::Blobs(blobs), value) => {
                if let FieldValue::Blob(bytes) = value {
                    blobs.data.extend_from_slice(&bytes);
                }
                blobs.ends.push(blobs.data.len() as u32);
            }
        }
    }
    Ok(Ok(column))
}

/// The byte strings of `blobs`. Fails when its ends are not ascending offsets into its data.
pub(super) fn split(blobs: &Blobs) -> Result<Vec<&[u8]>, String> {
    let mut start = 0;
    let slices = blobs.ends.iter().map(|&end| {
        let slice = blobs.data.get(start..end as usize);
        start = end as usize;
        slice
    });
    let slices = slices.collect::<Option<Vec<_>>>().filter(|_| start == blobs.data.len());
    slices.ok_or_else(|| "`ends` must ascend and the last must be the length of the data".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use reflow_tracing_model::{TraceEvent, TraceId};

    use super::*;
    use crate::contract::flows::Flows;
    use crate::runtime::cpu::CpuTime;

    #[tokio::test]
    async fn columns_have_at_most_the_bytes_that_are_left() {
        let event = TraceEvent { actor_id: "x".repeat(100), ..TraceEvent::default() };
        let batch = EventBatch::new(vec![(TraceId::new(), event); 10], &Flows::default());
        let mut pace = Arc::new(CpuTime::new("p".into(), Duration::from_secs(5))).pace();
        let mut budget = Budget::of_bytes(2_500);
        for _ in 0..2 {
            assert!(column(batch.rows(), Field::ActorId, &mut budget, &mut pace).await.unwrap().is_ok());
        }
        assert_eq!(budget.left(), 2_500 - 2 * 10 * (100 + 8));
        for field in [Field::ActorId, Field::Body, Field::Json] {
            assert!(column(batch.rows(), field, &mut budget, &mut pace).await.unwrap().is_err(), "{field:?}");
        }
        assert!(column(batch.rows(), Field::EventId, &mut Budget::of_bytes(159), &mut pace).await.unwrap().is_err());
    }

    #[test]
    fn a_field_is_requested_once_and_by_a_name_that_there_is() {
        let fields = |names: &[&str]| distinct(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(fields(&["body", "port"]).unwrap(), [Field::Body, Field::Port]);
        assert!(fields(&["body", "port", "body"]).unwrap_err().contains("`body` is requested twice"));
        assert!(fields(&["bodi"]).unwrap_err().contains("`bodi` is not a field"));
    }
}
