//! Which traces the store has: what is asked at the same time is answered with one read.
//!
//! Reflow's client puts an unknown trace id on every event, so there is a question for each; asked one by one they would
//! cost as much as storing the events does.
//!
//! While a store that spools can't be asked, an id that nobody here knows is taken for one that the client made up: to wait for
//! the answer would be to wait for the store.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::CommitError;
use reflow_tracing::storage::{FlowTrace, StorageBackend, StorageError, TraceId};
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// The most questions that one read answers.
const MAX_QUESTIONS: usize = 1_000;

/// Answers questions for headers. Clones share the queue; it is served until the last one is dropped.
#[derive(Clone)]
pub(super) struct Directory {
    queue: mpsc::Sender<Question>,
    task: TaskHealth,
}

struct Question {
    trace_id: TraceId,
    answer: oneshot::Sender<Result<Option<FlowTrace>, CommitError>>,
}

impl Directory {
    pub(super) fn start(storage: Arc<dyn StorageBackend>) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUESTIONS);
        let waiting = Arc::new(Mutex::new(waiting));
        let task = Supervised::start("finding traces", move || {
            let (storage, waiting) = (storage.clone(), waiting.clone());
            async move {
                let mut waiting = waiting.lock().await;
                let mut questions = Vec::new();
                while waiting.recv_many(&mut questions, MAX_QUESTIONS).await > 0 {
                    answer(&*storage, std::mem::take(&mut questions)).await;
                }
            }
        });
        Self { queue, task: task.detached() }
    }

    /// How the task that asks the store is.
    pub(super) fn health(&self) -> TaskHealth {
        self.task.clone()
    }

    /// The header of a trace, if the store has one.
    pub(super) async fn find(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, CommitError> {
        let stopped = |retryable| StorageError::Other { message: "the reader has stopped".into(), retryable };
        let (answer, answered) = oneshot::channel();
        self.queue.send(Question { trace_id, answer }).await.map_err(|_| stopped(false))?;
        // It is started again.
        answered.await.map_err(|_| stopped(true))?
    }
}

async fn answer(storage: &dyn StorageBackend, questions: Vec<Question>) {
    let ids = questions.iter().map(|question| question.trace_id).collect();
    match super::guard(storage.get_headers(ids)).await {
        Ok(headers) => {
            for (Question { answer, .. }, header) in questions.into_iter().zip(headers) {
                // A sender that is gone needs no answer.
                let _ = answer.send(Ok(header));
            }
        }
        // Of some of them: each by itself has its answer at once.
        Err(StorageError::Pending(_)) => {
            for Question { trace_id, answer } in questions {
                let header = super::guard(storage.get_headers(vec![trace_id])).await;
                let header = header.map(|headers| headers.into_iter().next().flatten());
                let _ = answer.send(match header {
                    Err(StorageError::Pending(_)) => Ok(None),
                    header => header.map_err(Arc::new),
                });
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for Question { answer, .. } in questions {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing::storage::MemoryStorage;
    use reflow_tracing::storage::layers::lazy::Lazy;
    use reflow_tracing::storage::layers::spool::{Spool, SpoolConfig};

    #[tokio::test]
    async fn while_the_store_spools_what_waits_is_found_and_what_nobody_knows_is_not_there() {
        let away = Lazy::<MemoryStorage>::new(|| {
            Box::pin(async { Err(StorageError::Unavailable("asked to be away".into())) })
        });
        let folder = tempfile::tempdir().unwrap();
        let storage = Spool::open(away, "remote", &SpoolConfig::new(folder.path())).await.unwrap();
        let header = FlowTrace::default();
        storage.store_trace(header.clone()).await.unwrap();
        let directory = Directory::start(Arc::new(storage));
        // Asked at once, as by several senders.
        let asked = [TraceId::new(), header.trace_id, TraceId::new()].map(|trace_id| directory.find(trace_id));
        let found: Vec<_> = futures::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [None, Some(header), None]);
    }
}
