//! Batches of events.

use std::sync::Arc;

use reflow_tracing_model::{TraceEvent, TraceId};

use super::body::{self, DecodeError};
use super::budget::Budget;
use super::flows::Flows;

/// An ordered batch of events. Cheap to clone, so that a capability can move it to another thread.
#[derive(Default, Clone)]
pub struct EventBatch {
    rows: Arc<Vec<Row>>,
    /// What the events that were read take in memory.
    bytes: usize,
    has_ended: bool,
}

/// A resource of an earlier call was used.
#[derive(Debug, thiserror::Error)]
#[error("it used {0} of an earlier call: batches, cursors and transactions end with the call in which they were made")]
pub(crate) struct Ended(pub &'static str);

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
        Self { rows: Arc::new(rows), ..Self::default() }
    }

    /// A batch of events that were read. Fails on an invalid body, and when the events take more than `budget` has.
    pub(crate) fn from_bodies<'a>(
        bodies: impl IntoIterator<Item = &'a [u8]>,
        mut budget: Budget,
    ) -> Result<Self, DecodeError> {
        let mut batch = Self::default();
        bodies.into_iter().try_for_each(|body| batch.read(body, &mut budget))?;
        Ok(batch)
    }

    /// Appends an event that was read. Takes what it needs from `budget`.
    pub(crate) fn read(&mut self, body: &[u8], budget: &mut Budget) -> Result<(), DecodeError> {
        let before = budget.left();
        let row = Row::of_body(body, budget)?;
        // Not shared: it is being filled.
        self.append([row], before - budget.left());
        Ok(())
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the events that were read take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees the events at the end of the call that made the batch.
    pub(crate) fn end(&mut self) {
        *self = Self { has_ended: true, ..Self::default() };
    }

    /// Fails when the call that made the batch has ended.
    pub(crate) fn check(&self) -> Result<&Self, Ended> {
        if self.has_ended { Err(Ended("an event batch")) } else { Ok(self) }
    }

    /// Appends events that take `bytes`. Returns false when the batch is shared.
    pub(crate) fn append(&mut self, added: impl IntoIterator<Item = Row>, bytes: usize) -> bool {
        let Some(rows) = Arc::get_mut(&mut self.rows) else { return false };
        rows.extend(added);
        self.bytes += bytes;
        true
    }

    /// The events, copied only if the batch is shared.
    pub(crate) fn into_events(self) -> Vec<TraceEvent> {
        match Arc::try_unwrap(self.rows) {
            Ok(rows) => rows.into_iter().map(|row| row.event).collect(),
            Err(rows) => rows.iter().map(|row| row.event.clone()).collect(),
        }
    }
}

impl Row {
    /// An event that was read. Takes what it needs from `budget`.
    pub(crate) fn of_body(body: &[u8], budget: &mut Budget) -> Result<Self, DecodeError> {
        let too_large = |error| DecodeError::TooLarge { bytes: body.len(), error };
        budget.take(body.len() + size_of::<Self>()).map_err(too_large)?;
        let event: TraceEvent = body::decode_within(body, budget)?;
        budget.take(body::free_form_bytes(&event)).map_err(too_large)?;
        Ok(Self { trace_id: TraceId(uuid::Uuid::nil()), flow_id: None, event })
    }
}
