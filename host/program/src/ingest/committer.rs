//! Group commit: events that arrive while a batch is being stored make the next batch.
//!
//! One batch is in flight at a time. An idle store therefore stores a lone event at once, and a busy one gets batches as
//! large as the load needs, without a timer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::live::{Live, LiveEvent};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_storage::task::{Supervised, TaskHealth, panic_message};

/// The most events of a batch. Larger ones gain nothing measurable and make everyone in them wait longer.
const MAX_BATCH: usize = 1_000;

/// The events that may wait for their batch. Four batches keep the store busy; a sender beyond them waits.
const QUEUE: usize = 4 * MAX_BATCH;

/// Why an event was not stored; shared by all events of a batch that failed.
pub type CommitError = Arc<StorageError>;

/// The queue of events to be stored. Clones share it; it is served until the last one is dropped.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Write>,
    task: TaskHealth,
}

struct Write {
    event: LiveEvent,
    done: oneshot::Sender<Result<(), CommitError>>,
}

impl Committer {
    /// Starts to store what is submitted in `storage`, and to publish to `live` what is stored.
    pub fn start(storage: Arc<dyn StorageBackend>, live: Live) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let task = Supervised::start("storing events", move || {
            let (storage, live, waiting) = (storage.clone(), live.clone(), waiting.clone());
            async move {
                let mut waiting = waiting.lock().await;
                let mut batch = Vec::new();
                while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
                    // A panic costs its own batch: dropped, each event of it is answered.
                    let commit = commit(&*storage, &live, std::mem::take(&mut batch));
                    if let Err(panic) = AssertUnwindSafe(commit).catch_unwind().await {
                        tracing::error!("a batch of events was given up on: {}", panic_message(&*panic));
                    }
                }
            }
        });
        Self { queue, task: task.detached() }
    }

    /// How the task that stores is.
    pub(super) fn health(&self) -> TaskHealth {
        self.task.clone()
    }

    /// Stores an event: waits for room in the queue, then until the store has acknowledged it.
    ///
    /// An event whose caller stops waiting may be stored nevertheless.
    pub async fn store(&self, event: LiveEvent) -> Result<(), CommitError> {
        let (done, stored) = oneshot::channel();
        let stopped = |_| StorageError::Other { message: "the writer has stopped".into(), retryable: false };
        self.queue.send(Write { event, done }).await.map_err(stopped)?;
        stored.await.map_err(|_| given_up_on())?
    }
}

fn given_up_on() -> StorageError {
    let message = "the host failed while it stored the event, and its log says why; to store it again is safe";
    StorageError::Other { message: message.into(), retryable: true }
}

/// Stores a batch. When it is refused it is halved until the events that are to blame stand alone, so that they fail
/// alone; writes are idempotent, so a half that was stored already may be stored again.
async fn commit(storage: &dyn StorageBackend, live: &Live, batch: Vec<Write>) {
    let mut parts = vec![batch];
    let (mut lost, mut last_error) = (0, None);
    while let Some(mut part) = parts.pop() {
        match store(storage, &part).await {
            Ok(()) => {
                for Write { event, done } in part {
                    live.publish(event);
                    // A sender that is gone needs no answer.
                    let _ = done.send(Ok(()));
                }
            }
            Err(error) if part.len() > 1 && !error.is_retryable() => {
                let second_half = part.split_off(part.len() / 2);
                parts.extend([second_half, part]);
            }
            Err(error) => {
                let error = Arc::new(error);
                lost += part.len();
                last_error = Some(error.clone());
                for Write { done, .. } in part {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }
    if let Some(error) = last_error {
        tracing::warn!(events = lost, "events were not stored, the last of them because: {error}");
    }
}

async fn store(storage: &dyn StorageBackend, part: &[Write]) -> Result<(), StorageError> {
    let events = part.iter().map(|write| (write.event.trace_id, write.event.event.clone())).collect();
    super::guard(storage.store_events(events)).await
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::ingest::gated::Gated;
    use reflow_tracing::{ExecutionStatus, TraceEvent, TraceId};

    fn event(trace_id: TraceId, actor: &str) -> LiveEvent {
        let event = TraceEvent { actor_id: actor.into(), ..Default::default() };
        LiveEvent { trace_id, flow_id: None, status: ExecutionStatus::Running, event }
    }

    /// Lets every task get as far as it can: there is one thread, so this takes turns rather than time.
    async fn settle() {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn events_that_wait_share_a_batch_and_are_answered_once_it_is_stored() {
        let storage = Gated::new(0);
        let committer = Committer::start(storage.clone(), Live::new());
        let trace_id = TraceId::new();
        let store = |_| {
            let committer = committer.clone();
            tokio::spawn(async move { committer.store(event(trace_id, "a")).await })
        };
        let mut senders = vec![store(0)];
        settle().await;
        senders.extend((1..10).map(store));
        settle().await;
        assert!(senders.iter().all(|sender| !sender.is_finished()), "nothing is stored yet");
        storage.permits.add_permits(2);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(*storage.batches.lock().unwrap(), [1, 9]);
        assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 10);
    }

    #[tokio::test]
    async fn a_full_queue_makes_senders_wait_and_drops_nothing() {
        let storage = Gated::new(0);
        let committer = Committer::start(storage.clone(), Live::new());
        let trace_id = TraceId::new();
        let senders: Vec<_> = (0..QUEUE + 2 * MAX_BATCH)
            .map(|_| {
                let committer = committer.clone();
                tokio::spawn(async move { committer.store(event(trace_id, "a")).await })
            })
            .collect();
        settle().await;
        assert_eq!(committer.queue.capacity(), 0, "the queue is full");
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for sender in senders {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(storage.get_events(trace_id).await.unwrap().len(), QUEUE + 2 * MAX_BATCH);
    }

    #[tokio::test]
    async fn a_bad_event_costs_only_itself() {
        let storage = Gated::new(0);
        let committer = Committer::start(storage.clone(), Live::new());
        let trace_id = TraceId::new();
        let too_long = "x".repeat(reflow_tracing::MAX_NAME_BYTES + 1);
        let senders: Vec<_> = (0..21)
            .map(|i| {
                let committer = committer.clone();
                let event = event(trace_id, if i == 13 { &too_long } else { "a" });
                tokio::spawn(async move { committer.store(event).await })
            })
            .collect();
        settle().await;
        storage.permits.add_permits(Semaphore::MAX_PERMITS);
        for (i, sender) in senders.into_iter().enumerate() {
            let result = sender.await.unwrap();
            assert_eq!(result.is_err(), i == 13, "event {i}: {result:?}");
        }
        assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 20);
    }

    #[tokio::test]
    async fn a_backend_that_panics_does_not_end_the_writer() {
        let committer = Committer::start(Gated::new(Semaphore::MAX_PERMITS), Live::new());
        let error = committer.store(event(TraceId::new(), "panic")).await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        committer.store(event(TraceId::new(), "a")).await.unwrap();
    }

    #[tokio::test]
    async fn only_what_is_stored_is_published() {
        let live = Live::new();
        let mut stream = live.subscribe(Default::default());
        let committer = Committer::start(Gated::new(Semaphore::MAX_PERMITS), live);
        let trace_id = TraceId::new();
        committer.store(event(trace_id, &"x".repeat(reflow_tracing::MAX_NAME_BYTES + 1))).await.unwrap_err();
        committer.store(event(trace_id, "a")).await.unwrap();
        assert_eq!(stream.next().await.unwrap().event.actor_id, "a");
    }
}
