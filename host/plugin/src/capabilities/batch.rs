//! `reflow:storage/batch`: batches of events behind handles.

use wasmtime::component::Resource;

use super::state::HostState;
use crate::contract::batch::{EventBatch, Row};
use crate::contract::bindings::reflow::storage::batch::{Blobs, Column, Host, HostEventBatch, Texts};
use crate::contract::bindings::reflow::storage::types;
use crate::contract::convert;
use crate::contract::field::{Field, FieldValue};

impl Host for HostState {}

impl types::Host for HostState {}

impl HostEventBatch for HostState {
    fn new(&mut self) -> wasmtime::Result<Resource<EventBatch>> {
        Ok(self.table.push(EventBatch::default())?)
    }

    fn len(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table.get(&batch)?.rows().len())?)
    }

    fn columns(
        &mut self,
        batch: Resource<EventBatch>,
        fields: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Column>, String>> {
        let rows = self.table.get(&batch)?.rows();
        let mut left = self.limits.result_bytes();
        let mut columns = Vec::new();
        for name in fields {
            let column = match name.parse::<Field>() {
                Ok(field) => column(rows, field, &mut left).ok_or_else(|| {
                    format!(
                        "the columns of these {} events have more than {} MiB, the maximum of plugins.{}.limits.result_mb: \
                         request fewer fields, or pass the batch to a capability",
                        rows.len(),
                        self.limits.result_mb,
                        self.plugin
                    )
                }),
                Err(problem) => Err(problem),
            };
            match column {
                Ok(column) => columns.push(column),
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(columns))
    }

    fn present(&mut self, batch: Resource<EventBatch>, field: String) -> wasmtime::Result<Result<Vec<bool>, String>> {
        let rows = self.table.get(&batch)?.rows();
        Ok(field.parse().map(|field| rows.iter().map(|row| row.has(field)).collect()))
    }

    fn events(&mut self, batch: Resource<EventBatch>, offset: u32, limit: u32) -> wasmtime::Result<Vec<types::Event>> {
        let rows = self.table.get(&batch)?.rows();
        Ok(rows.iter().skip(offset as usize).take(limit as usize).map(convert::event).collect())
    }

    fn push(&mut self, batch: Resource<EventBatch>, bodies: Blobs) -> wasmtime::Result<Result<(), String>> {
        let added =
            split(&bodies).and_then(|bodies| EventBatch::from_bodies(bodies).map_err(|error| error.to_string()));
        let added = match added {
            Ok(added) => added,
            Err(problem) => return Ok(Err(problem)),
        };
        if let Err(problem) = self.reserve(&added) {
            return Ok(Err(problem));
        }
        // Neither is shared: `added` is new, and no capability keeps a batch beyond its call.
        let appended = self.table.get_mut(&batch)?.append(added);
        Ok(appended.then_some(()).ok_or_else(|| "the batch is in use".into()))
    }

    fn drop(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<()> {
        self.remove_batch(batch)?;
        Ok(())
    }
}

/// The values of one field. `None` when they have more bytes than are `left`, which are taken from it.
fn column(rows: &[Row], field: Field, left: &mut usize) -> Option<Column> {
    let values = rows.iter().map(|row| row.value(field));
    *left = left.checked_sub(rows.len() * 8)?;
    Some(match field {
        Field::TraceId | Field::EventId | Field::ParentEventId => Column::Uuids(
            values
                .flat_map(|value| match value {
                    FieldValue::Uuid(uuid) => <[u64; 2]>::from(uuid.as_u64_pair()),
                    _ => [0, 0],
                })
                .collect(),
        ),
        Field::Timestamp | Field::MessageSize | Field::ExecutionTimeNs => Column::Integers(
            values
                .map(|value| match value {
                    FieldValue::Integer(number) => number,
                    _ => 0,
                })
                .collect(),
        ),
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
        | Field::Json => {
            let mut texts = Texts { text: String::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Text(text) = value {
                    *left = left.checked_sub(text.len())?;
                    texts.text.push_str(&text);
                }
                texts.ends.push(texts.text.len() as u32);
            }
            Column::Texts(texts)
        }
        Field::Body => {
            let mut blobs = Blobs { data: Vec::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Blob(bytes) = value {
                    *left = left.checked_sub(bytes.len())?;
                    blobs.data.extend_from_slice(&bytes);
                }
                blobs.ends.push(blobs.data.len() as u32);
            }
            Column::Blobs(blobs)
        }
    })
}

/// Byte strings, concatenated.
pub(super) fn joined<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Blobs {
    let mut blobs = Blobs { data: Vec::new(), ends: Vec::new() };
    for part in parts {
        blobs.data.extend_from_slice(part.as_ref());
        blobs.ends.push(blobs.data.len() as u32);
    }
    blobs
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
    use reflow_tracing_model::{TraceEvent, TraceId};

    use super::*;
    use crate::contract::flows::Flows;

    #[test]
    fn columns_have_at_most_the_bytes_that_are_left() {
        let event = TraceEvent { actor_id: "x".repeat(100), ..TraceEvent::default() };
        let batch = EventBatch::new(vec![(TraceId::new(), event); 10], &Flows::default());
        let mut left = 2_500;
        assert!(column(batch.rows(), Field::ActorId, &mut left).is_some());
        assert!(column(batch.rows(), Field::ActorId, &mut left).is_some());
        assert_eq!(left, 2_500 - 2 * 10 * (100 + 8));
        for field in [Field::ActorId, Field::Body, Field::Json] {
            assert!(column(batch.rows(), field, &mut left).is_none(), "{field:?}");
        }
        assert!(column(batch.rows(), Field::EventId, &mut 79).is_none());
    }
}
