//! Batches of events.

use std::sync::Arc;

use reflow_tracing_model::{TraceEvent, TraceId};

use super::body::{self, DecodeError};
use super::flows::Flows;

/// An ordered batch of events. Cheap to clone, so that a capability can move it to another thread.
#[derive(Default, Clone)]
pub struct EventBatch {
    rows: Arc<Vec<Row>>,
    /// The size of the bodies that it was decoded from.
    bytes: usize,
}

pub(crate) struct Row {
    pub trace_id: TraceId,
    /// Of an event to store: the flow of its trace, if it is known.
    pub flow_id: Option<Arc<str>>,
    pub event: TraceEvent,
}

impl EventBatch {
    /// A batch of events to store.
    pub(crate) fn new(events: Vec<(TraceId, TraceEvent)>, flows: &Flows) -> Self {
        // Neighbours are mostly of one trace.
        let mut last = None;
        let row = |(trace_id, event)| {
            let flow_id = match &last {
                Some((known, flow_id)) if *known == trace_id => Option::clone(flow_id),
                _ => {
                    let flow_id = flows.of(trace_id);
                    last = Some((trace_id, flow_id.clone()));
                    flow_id
                }
            };
            Row { trace_id, flow_id, event }
        };
        let rows = events.into_iter().map(row).collect();
        Self { rows: Arc::new(rows), bytes: 0 }
    }

    /// A batch of events that were read. Fails on an invalid body.
    pub(crate) fn from_bodies<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DecodeError> {
        let no_trace = TraceId(uuid::Uuid::nil());
        let mut bytes = 0;
        let row = |body: &[u8]| {
            bytes += body.len();
            Ok(Row { trace_id: no_trace, flow_id: None, event: body::decode(body)? })
        };
        let rows = bodies.into_iter().map(row).collect::<Result<_, DecodeError>>()?;
        Ok(Self { rows: Arc::new(rows), bytes })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The size of the bodies that it was decoded from.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the events of `added`. Returns false when one of the two is shared.
    pub(crate) fn append(&mut self, added: Self) -> bool {
        match (Arc::get_mut(&mut self.rows), Arc::try_unwrap(added.rows)) {
            (Some(rows), Ok(new)) => {
                rows.extend(new);
                self.bytes += added.bytes;
                true
            }
            _ => false,
        }
    }

    /// The events, copied only if the batch is shared.
    pub(crate) fn into_events(self) -> Vec<TraceEvent> {
        match Arc::try_unwrap(self.rows) {
            Ok(rows) => rows.into_iter().map(|row| row.event).collect(),
            Err(rows) => rows.iter().map(|row| row.event.clone()).collect(),
        }
    }
}
