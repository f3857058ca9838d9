//! Moves waiting writes from the queue to the backend, in order and in large batches.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use hashlink::LinkedHashMap;
use serde::Serialize;

use super::core::{Core, Delivered};
use super::file::{Refused, Row};
use super::queue::Removed;
use super::record::decode;
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::layer::{Operation, StoreEvents, StoreTraces};
use reflow_tracing_storage::{StorageBackend, StorageError};

/// The pauses between attempts to reach the backend; each is jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Drains the queue until the spool is closed.
pub(crate) async fn run<B: StorageBackend + 'static>(core: Arc<Core<B>>) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    let mut pause = pauses.build();
    while core.work_to_do().await {
        let step = AssertUnwindSafe(core.drain_some()).catch_unwind().await;
        let panicked =
            || StorageError::Other { message: "the backend panicked; its log says why".into(), retryable: true };
        match step.unwrap_or_else(|_| Err(panicked())) {
            Ok(()) => {
                core.is_back();
                pause = pauses.build();
            }
            Err(error) => {
                core.is_away(&error);
                core.availability.pause(pause.next().unwrap_or(LONGEST_PAUSE)).await;
            }
        }
    }
}

impl<B: StorageBackend> Core<B> {
    /// Stores the oldest waiting writes, or checks the backend's health if none wait.
    async fn drain_some(&self) -> Result<(), StorageError> {
        let rows = self.queue.next().await?;
        if rows.is_empty() {
            return self.inner.health_check().await;
        }
        let mut removed = Removed::default();
        let (mut events, mut headers, mut refused) = (Vec::new(), LinkedHashMap::new(), Vec::new());
        for row in rows {
            removed.add(&row);
            take_apart(row, &mut events, &mut headers, &mut refused);
        }
        // Store the events first, so that a reader who sees a trace sees all of its events.
        let Delivered { events: stored_events, traces: stored_traces, .. } = &self.delivered;
        let of_event = |(trace_id, event): &(TraceId, TraceEvent)| (*trace_id, to_json(event));
        self.deliver(events, StoreEvents, of_event, stored_events, &mut refused).await?;
        let headers = headers.into_iter().map(|(_, header)| header).collect();
        let of_header = |header: &FlowTrace| (header.trace_id, to_json(header));
        self.deliver(headers, StoreTraces, of_header, stored_traces, &mut refused).await?;
        let count = refused.len() as u64;
        let free = self.max_refused.saturating_sub(self.queue.depth().metrics().refused);
        refused.truncate(usize::try_from(free).unwrap_or(usize::MAX));
        for Refused { error, trace_id, .. } in &refused {
            let trace = trace_id.map_or_else(|| "of some trace".into(), |trace_id| format!("of trace {trace_id}"));
            tracing::error!(
                "a spooled write {trace} was rejected by {}; it is in the table `refused` of the spool: {error}",
                self.description
            );
        }
        self.queue.remove(removed, refused, count).await
    }

    /// Stores items. Bisects a batch to find items that the backend rejects permanently, and sets them aside. Stops at a
    /// transient error.
    async fn deliver<T: Clone, O: Operation<Output = ()>>(
        &self,
        items: Vec<T>,
        operation: fn(Vec<T>) -> O,
        describe: impl Fn(&T) -> (TraceId, Option<String>),
        stored: &AtomicU64,
        refused: &mut Vec<Refused>,
    ) -> Result<(), StorageError> {
        let mut parts = vec![items];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match operation(part.clone()).run(&self.inner).await {
                Ok(()) => {
                    stored.fetch_add(part.len() as u64, Relaxed);
                }
                Err(error) if part.len() > 1 && may_be_caused_by_one_item(&error) => {
                    let second_half = part.split_off(part.len() / 2);
                    parts.extend([second_half, part]);
                }
                Err(error) if may_be_caused_by_one_item(&error) && self.item_is_at_fault(&error).await => {
                    refused.extend(part.iter().map(&describe).map(|(trace_id, json)| Refused {
                        error: error.to_string(),
                        trace_id: Some(trace_id),
                        json,
                        body: None,
                    }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the item caused the error, rather than the backend.
    async fn item_is_at_fault(&self, error: &StorageError) -> bool {
        matches!(error, StorageError::InvalidArgument(_)) || self.inner.health_check().await.is_ok()
    }
}

/// Whether a single item of a batch can cause this error.
fn may_be_caused_by_one_item(error: &StorageError) -> bool {
    use StorageError::{Configuration, Exhausted, Unsupported};
    !error.is_retryable() && !matches!(error, Configuration(_) | Exhausted(_) | Unsupported(_))
}

/// Decodes a row. If a trace has several headers, the last one stays, at the position of the first.
fn take_apart(
    row: Row,
    events: &mut Vec<(TraceId, TraceEvent)>,
    headers: &mut LinkedHashMap<TraceId, FlowTrace>,
    refused: &mut Vec<Refused>,
) {
    let record = if row.is_sound { decode(&row.body).ok() } else { None };
    let Some(record) = record else {
        let error = format!("record {} of the spool is damaged", row.seq);
        refused.push(Refused { error, trace_id: None, json: None, body: Some(row.body) });
        return;
    };
    for mut trace in record.traces {
        let trace_id = trace.trace_id;
        events.extend(std::mem::take(&mut trace.events).into_iter().map(|event| (trace_id, event)));
        headers.insert(trace_id, trace);
    }
    events.extend(record.events);
}

fn to_json(item: &impl Serialize) -> Option<String> {
    serde_json::to_string(item).ok()
}
