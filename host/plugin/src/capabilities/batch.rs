//! `reflow:storage/batch`: batches of events behind handles.

use wasmtime::component::Resource;

use super::state::HostState;
use crate::contract::batch::{EventBatch, Field, FieldValue, Row};
use crate::contract::bindings::reflow::storage::batch::{Blobs, Column, Host, HostEventBatch, Texts};
use crate::contract::bindings::reflow::storage::types;
use crate::contract::convert;

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
        let fields: Result<Vec<Field>, String> = fields.iter().map(|name| name.parse()).collect();
        Ok(fields.map(|fields| fields.into_iter().map(|field| column(rows, field)).collect()))
    }

    fn events(&mut self, batch: Resource<EventBatch>, offset: u32, limit: u32) -> wasmtime::Result<Vec<types::Event>> {
        let rows = self.table.get(&batch)?.rows();
        Ok(rows.iter().skip(offset as usize).take(limit as usize).map(convert::event).collect())
    }

    fn push(&mut self, batch: Resource<EventBatch>, bodies: Blobs) -> wasmtime::Result<Result<(), String>> {
        let Some(bodies) = split(&bodies) else {
            return Ok(Err("`ends` must ascend and the last must be the length of `data`".into()));
        };
        let added = match EventBatch::from_bodies(bodies) {
            Ok(added) => added,
            Err(error) => return Ok(Err(error.to_string())),
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

fn column(rows: &[Row], field: Field) -> Column {
    let values = rows.iter().map(|row| row.value(field));
    match field {
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
        Field::EventType | Field::ActorId | Field::Port | Field::Error | Field::SpanId | Field::MessageType => {
            let mut texts = Texts { text: String::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Text(text) = value {
                    texts.text.push_str(text);
                }
                texts.ends.push(texts.text.len() as u32);
            }
            Column::Texts(texts)
        }
        Field::Body => {
            let mut blobs = Blobs { data: Vec::new(), ends: Vec::with_capacity(rows.len()) };
            for value in values {
                if let FieldValue::Blob(bytes) = value {
                    blobs.data.extend_from_slice(&bytes);
                }
                blobs.ends.push(blobs.data.len() as u32);
            }
            Column::Blobs(blobs)
        }
    }
}

/// The byte strings of `blobs`; `None` when its ends are not ascending offsets into its data.
fn split(blobs: &Blobs) -> Option<Vec<&[u8]>> {
    let mut start = 0;
    let slices = blobs.ends.iter().map(|&end| {
        let slice = blobs.data.get(start..end as usize);
        start = end as usize;
        slice
    });
    let slices = slices.collect::<Option<Vec<_>>>()?;
    (start == blobs.data.len()).then_some(slices)
}
