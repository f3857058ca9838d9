//! Stores what the connections sent, in batches that they share.
//!
//! The grouping, its budgets and its order are the [write queue](reflow_tracing_storage::write_queue)'s. A store that does
//! several writes at a time ([`concurrent_writes`](reflow_tracing_storage::StorageExtras::concurrent_writes)) gets as many
//! batches at a time.

use std::sync::Arc;

use chrono::Utc;
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{ExecutionStatus, TraceEvent};
use reflow_tracing_storage::task::{Supervised, TaskHealth, contain};
use reflow_tracing_storage::write_queue::{Batch, Batches, Lane, Limits, Size, Split, WriteQueue};

use super::chunk::{Chunk, Origin, Outcomes};
use super::clocks::{Clocks, is_plausible};
use super::headers::Headers;
use super::live::{Live, LiveEvent};
use super::open_trace::OpenTrace;

/// The most batches in flight, whatever a store says that it can do.
const WORKERS: usize = 8;

const LIMITS: Limits = Limits {
    name: "the task that stores events",
    total: Size::new(32_000, 96 << 20),
    // Larger ones gain nothing measurable and make everyone in them wait longer.
    batch: Size::new(4_000, 16 << 20),
    full: Size::new(1_000, 4 << 20),
    at_once: 1,
    patience: None,
};

/// Why an event was not stored; shared by all events of a batch that failed.
pub type CommitError = Arc<StorageError>;

/// The queue of events to be stored. Clones share it; it is served until the last one is dropped.
#[derive(Clone)]
pub struct Committer {
    queue: WriteQueue<Chunk>,
    tasks: Arc<[TaskHealth]>,
}

impl Committer {
    /// Starts to store what is submitted in the store of `headers`, and to publish to `live` what is stored.
    pub(super) fn start(headers: Headers, live: Live, clocks: Clocks) -> Self {
        let (queue, batches) = WriteQueue::new(LIMITS);
        let store = Store { storage: headers.storage.clone(), headers, live, clocks };
        let tasks = (0..WORKERS).map(|_| {
            let (store, batches) = (store.clone(), batches.clone());
            Supervised::start("storing events", move || store.clone().work(batches.clone())).detached()
        });
        Self { tasks: tasks.collect(), queue }
    }

    /// How the tasks that store are.
    pub(super) fn health(&self) -> &[TaskHealth] {
        &self.tasks
    }

    /// The way into the queue for one sender.
    pub(super) fn lane(&self) -> Lane<Chunk> {
        self.queue.lane()
    }
}

#[derive(Clone)]
struct Store {
    storage: Arc<dyn StorageBackend>,
    headers: Headers,
    live: Live,
    clocks: Clocks,
}

impl Store {
    async fn work(self, batches: Batches<Chunk>) {
        // Asked again and again: a store that is opened lazily can't say so before it is open.
        batches.allow_at_once(self.concurrent_writes());
        while let Some(batch) = batches.next().await {
            batches.allow_at_once(self.concurrent_writes());
            // A panic costs its own batch: dropped, each event of it is answered.
            contain(LIMITS.name, self.commit(batch)).await;
        }
    }

    fn concurrent_writes(&self) -> usize {
        self.storage.concurrent_writes().min(WORKERS)
    }

    async fn commit(&self, batch: Batch<Chunk>) {
        let Batch { entries: chunks, size, answers } = batch;
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.events.len()).collect();
        let mut origins = Vec::with_capacity(size.rows);
        let mut events = Vec::with_capacity(size.rows);
        for mut chunk in chunks {
            origins.append(&mut chunk.origins);
            events.append(&mut chunk.events);
        }
        self.begin_implausible(&origins).await;
        // Of a larger batch, which a single event can be, each is parsed again when it is its turn.
        let is_copied = self.live.is_watched() && size.bytes <= 2 * LIMITS.batch.bytes;
        let mut copies = if is_copied { events.clone() } else { Vec::new() }.into_iter();

        let mut split = Split::new(origins.len());
        let mut whole = Some(events);
        while let Some(part) = split.next() {
            let again = || origins[part].iter().map(|origin| (origin.trace.trace_id, origin.original.event()));
            let events = whole.take().unwrap_or_else(|| again().collect());
            split.outcome(super::guard(self.storage.store_events(events)).await);
        }

        let (statuses, not_begun) = self.note(&origins, &split).await;
        let mut statuses = statuses.into_iter();
        let is_watched = self.live.is_watched();
        let mut outcomes = Vec::new();
        let mut lost: Option<(usize, &StorageError)> = None;
        // An error is shared by those whom it met together.
        let mut shared: Option<(*const StorageError, CommitError)> = None;
        for (origin, outcome) in origins.iter().zip(split.outcomes()) {
            let (copy, status) = (copies.next(), statuses.next());
            let outcome = match (outcome, &not_begun) {
                (Ok(()), Some(error)) if !origin.trace.is_begun() => Err(error),
                (outcome, _) => outcome.as_ref().copied(),
            };
            let outcome = outcome.map_err(|error| {
                lost = Some((lost.map_or(0, |(events, _)| events) + 1, error));
                match &shared {
                    Some((same, error_of_all)) if std::ptr::eq(*same, error) => error_of_all.clone(),
                    _ => {
                        let error_of_all = Arc::new(error.clone());
                        shared = Some((error, error_of_all.clone()));
                        error_of_all
                    }
                }
            });
            if is_watched && outcome.is_ok() {
                let event = copy.map_or_else(|| origin.original.event(), |(_, event)| event);
                self.live.publish(live_event(origin, event, status));
            }
            outcomes.push(outcome);
        }
        if let Some((events, error)) = lost {
            tracing::warn!(events, "events were not stored, the last of them because: {error}");
        }
        let mut outcomes = outcomes.into_iter();
        answers.send(lengths.into_iter().map(|length| {
            let of_chunk: Vec<_> = outcomes.by_ref().take(length).collect();
            if of_chunk.iter().all(Result::is_ok) { Outcomes::Stored } else { Outcomes::Each(of_chunk) }
        }));
    }

    /// Gives headers to new traces whose times can't be right before their events are stored: a store that places events by the
    /// time of their trace then goes by the time when it was received.
    async fn begin_implausible(&self, origins: &[Origin]) {
        let now = Utc::now();
        let is_implausible = |origin: &&Origin| !origin.trace.is_begun() && !is_plausible(origin.timestamp, now);
        let new: Vec<_> = origins.iter().filter(is_implausible).map(|origin| origin.trace.clone()).collect();
        if !new.is_empty()
            && let Err(error) = self.headers.settle(new).await
        {
            tracing::debug!("traces were not begun before their events: {error}");
        }
    }

    /// Brings the headers in line with the events that were stored. Returns how each event's trace stands with it, if somebody
    /// watches, and why some traces still have no header: their events are stored, but not found by queries.
    async fn note(&self, origins: &[Origin], split: &Split) -> (Vec<ExecutionStatus>, Option<StorageError>) {
        let now = Utc::now();
        let is_watched = self.live.is_watched();
        let mut statuses = Vec::new();
        let mut unsettled: Vec<Arc<OpenTrace>> = Vec::new();
        for (origin, outcome) in origins.iter().zip(split.outcomes()) {
            if outcome.is_ok() {
                self.clocks.note(origin.timestamp, now);
            }
            let is_settled = !origin.note(outcome.as_ref().copied());
            if !is_settled && unsettled.last().is_none_or(|last| !Arc::ptr_eq(last, &origin.trace)) {
                unsettled.push(origin.trace.clone());
            }
            if is_watched {
                statuses.push(origin.trace.state().1);
            }
        }
        if unsettled.is_empty() {
            return (statuses, None);
        }
        let error = self.headers.settle(unsettled).await.err();
        if let Some(error) = &error {
            tracing::warn!("the headers of traces were not brought in line with their events: {error}");
        }
        (statuses, error)
    }
}

fn live_event(origin: &Origin, event: TraceEvent, then: Option<ExecutionStatus>) -> LiveEvent {
    let (flow_id, now) = origin.trace.state();
    LiveEvent { trace_id: origin.trace.trace_id, flow_id, status: then.unwrap_or(now), event }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::ingest::gated::Gated;
    use crate::ingest::{Ingest, Received, Session};
    use reflow_tracing::{PerformanceMetrics, TraceEventData, TraceEventType, TraceId};

    fn event(actor: &str) -> TraceEvent {
        let data = TraceEventData { performance_metrics: PerformanceMetrics::ZERO, ..Default::default() };
        TraceEvent { actor_id: actor.into(), data, ..Default::default() }
    }

    fn invalid() -> TraceEvent {
        event(&"x".repeat(reflow_tracing::MAX_NAME_BYTES + 1))
    }

    /// Lets every task get as far as it can: there is one thread, so this takes turns rather than time.
    async fn settle() {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    }

    type Sender = tokio::task::JoinHandle<Result<(), CommitError>>;

    /// Stores an event as a sender of its own, of a trace of its own.
    fn send(ingest: &Ingest, event: TraceEvent) -> Sender {
        let mut session = Session::new(ingest.clone(), None);
        tokio::spawn(async move { session.record(TraceId::new(), event).await })
    }

    async fn count(storage: &Gated) -> u64 {
        storage.storage.stats().await.unwrap().events
    }

    /// Also what the store, which is bounded, has dropped since.
    fn stored(storage: &Gated) -> usize {
        storage.batches.lock().unwrap().iter().sum()
    }

    #[tokio::test]
    async fn events_that_wait_share_a_batch_and_are_answered_once_it_is_stored() {
        let storage = Gated::new(0);
        let ingest = Ingest::new(storage.clone());
        let mut senders = vec![send(&ingest, event("a"))];
        settle().await;
        senders.extend((1..10).map(|_| send(&ingest, event("a"))));
        settle().await;
        assert!(senders.iter().all(|sender| !sender.is_finished()), "nothing is stored yet");
        storage.permits.add_permits(2);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(*storage.batches.lock().unwrap(), [1, 9]);
        assert_eq!(count(&storage).await, 10);
    }

    #[tokio::test]
    async fn a_store_that_does_several_writes_at_a_time_gets_several_batches() {
        let storage = Gated::new(0);
        storage.concurrent_writes.store(2, Ordering::Relaxed);
        let ingest = Ingest::new(storage.clone());
        let senders: Vec<_> = (0..2 * LIMITS.batch.rows).map(|_| send(&ingest, event("a"))).collect();
        settle().await;
        assert_eq!(storage.under_way.load(Ordering::Relaxed), 2);
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(stored(&storage), 2 * LIMITS.batch.rows);
    }

    #[tokio::test]
    async fn a_full_queue_makes_senders_wait_and_drops_nothing() {
        let storage = Gated::new(0);
        let ingest = Ingest::new(storage.clone());
        let senders: Vec<_> = (0..LIMITS.total.rows + 10).map(|_| send(&ingest, event("a"))).collect();
        settle().await;
        let lane = ingest.committer().lane();
        let mut session = Session::new(ingest.clone(), None);
        let chunk = session.chunk(vec![super::super::Received::new(TraceId::new(), event("a"))]).await.unwrap();
        assert!(lane.try_push(chunk).is_err(), "the queue is full");
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(stored(&storage), LIMITS.total.rows + 10);
    }

    #[tokio::test]
    async fn an_invalid_event_costs_only_itself() {
        let storage = Gated::new(0);
        let ingest = Ingest::new(storage.clone());
        let senders: Vec<_> = (0..21).map(|i| send(&ingest, if i == 13 { invalid() } else { event("a") })).collect();
        settle().await;
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for (i, sender) in senders.into_iter().enumerate() {
            let result = sender.await.unwrap();
            assert_eq!(result.is_err(), i == 13, "event {i}: {result:?}");
        }
        assert_eq!(count(&storage).await, 20);
    }

    #[tokio::test]
    async fn a_full_store_is_asked_once_for_a_batch() {
        let storage = Gated::new(0);
        storage.is_full.store(true, Ordering::Relaxed);
        let ingest = Ingest::new(storage.clone());
        let mut senders = vec![send(&ingest, event("a"))];
        settle().await;
        senders.extend((0..1_000).map(|_| send(&ingest, event("a"))));
        settle().await;
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for sender in senders {
            let error = sender.await.unwrap().unwrap_err();
            assert!(matches!(&*error, StorageError::Exhausted(_)), "{error}");
        }
        assert_eq!(*storage.batches.lock().unwrap(), [1, 1_000]);
    }

    #[tokio::test]
    async fn a_backend_that_panics_does_not_end_the_writer() {
        let ingest = Ingest::new(Gated::new(Semaphore::MAX_PERMITS));
        let error = send(&ingest, event("panic")).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        send(&ingest, event("a")).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_what_is_stored_is_published() {
        let ingest = Ingest::new(Gated::new(Semaphore::MAX_PERMITS));
        let mut stream = ingest.live().subscribe(Default::default(), None).unwrap();
        send(&ingest, invalid()).await.unwrap().unwrap_err();
        send(&ingest, event("a")).await.unwrap().unwrap();
        assert_eq!(stream.next().await.unwrap().event.actor_id, "a");
    }

    #[tokio::test]
    async fn an_event_before_a_failure_is_not_one_of_a_failed_trace() {
        let ingest = Ingest::new(Gated::new(Semaphore::MAX_PERMITS));
        let mut stream = ingest.live().subscribe(Default::default(), None).unwrap();
        let mut session = Session::new(ingest.clone(), None);
        let failed = TraceEvent { event_type: TraceEventType::ActorFailed, ..event("b") };
        let received = [event("a"), failed, event("c")].map(|event| Received::new(TraceId::new(), event));
        let chunk = session.chunk(received.into()).await.unwrap();
        session.submit(chunk).await.unwrap().answer().await.unwrap();
        for status in ["Running", "Failed", "Failed"] {
            assert_eq!(stream.next().await.unwrap().status.name(), status);
        }
    }

    #[tokio::test]
    async fn who_begins_to_watch_while_a_batch_is_being_stored_is_told_of_its_events() {
        let storage = Gated::new(0);
        let ingest = Ingest::new(storage.clone());
        let sender = send(&ingest, event("a"));
        settle().await;
        let mut stream = ingest.live().subscribe(Default::default(), None).unwrap();
        storage.permits.add_permits(1);
        sender.await.unwrap().unwrap();
        assert_eq!(stream.next().await.unwrap().event.actor_id, "a");
    }
}
