//! Group commit: what waits while others are stored makes the next batch.
//!
//! The server stores a batch of thousands of rows nearly as quickly as one row, and each batch becomes files of its own that
//! it has to merge later. So every write goes through a bounded queue to one task that gathers batches: a full one is sent at
//! once, a smaller one as soon as the one before it is stored and nothing else waits. Everyone is answered once their rows are
//! stored.

use std::sync::Arc;
use std::time::Duration;

use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};
use reflow_tracing_storage::StorageError;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::ClickHouseConfig;
use super::batch::{MOST_BYTES, Store};
use super::connection::Server;
use reflow_tracing_storage::refusals::Refusals;
use reflow_tracing_storage::task::{Supervised, TaskHealth};

/// Writes that may wait to be gathered; further ones wait to be let in.
const QUEUE: usize = 256;
/// Batches that are on their way at the same time.
const AT_ONCE: u32 = 4;

/// Rows of one caller, and whom to answer.
pub(super) struct Job {
    pub headers: Vec<FlowTrace>,
    pub events: Vec<(TraceId, TraceEvent)>,
    answer: oneshot::Sender<Result<(), StorageError>>,
}

enum Message {
    Write(Job),
    /// Asks for an answer once everything before it is done.
    Barrier(oneshot::Sender<()>),
}

/// The way to the task that gathers, which ends when this is dropped.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: TaskHealth,
    refusals: Refusals,
}

impl Writer {
    pub(super) fn start(server: Arc<Server>, config: &ClickHouseConfig) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let gatherer = Gatherer {
            messages: Arc::new(Mutex::new(messages)),
            store: Arc::new(Store::new(server, config.batch_size)),
            batch_size: config.batch_size,
            flush_interval: config.flush_interval(),
            under_way: Arc::new(Semaphore::new(AT_ONCE as usize)),
            small: Arc::new(Semaphore::new(1)),
        };
        let task = Supervised::start("writing to ClickHouse", move || gatherer.clone().work()).detached();
        Self { queue, task, refusals: Refusals::default() }
    }

    /// Stores rows; `Ok` once the server has them.
    pub(super) async fn write(
        &self,
        headers: Vec<FlowTrace>,
        events: Vec<(TraceId, TraceEvent)>,
    ) -> Result<(), StorageError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Message::Write(Job { headers, events, answer })).await.map_err(|_| gone())?;
        self.refusals.note(answered.await.unwrap_or_else(|_| Err(given_up_on())))
    }

    /// Fails when the task is dead, or the server was full for the last write.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.task.problem() {
            Some(problem) => Err(StorageError::Unavailable(problem)),
            None => self.refusals.check(),
        }
    }

    /// What an operator should know.
    pub(super) fn warning(&self) -> Option<String> {
        self.task.warning()
    }

    /// Waits until everything that was given to [`write`](Self::write) before is answered.
    pub(super) async fn flush(&self) -> Result<(), StorageError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Message::Barrier(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| given_up_on())
    }
}

fn gone() -> StorageError {
    StorageError::Unavailable("the ClickHouse writer has ended".into())
}

fn given_up_on() -> StorageError {
    let message = "the ClickHouse writer failed in this batch, and the log says why; to write again is safe";
    StorageError::Other { message: message.into(), retryable: true }
}

#[derive(Clone)]
struct Gatherer {
    messages: Arc<Mutex<mpsc::Receiver<Message>>>,
    store: Arc<Store>,
    batch_size: usize,
    flush_interval: Duration,
    under_way: Arc<Semaphore>,
    /// Only one batch that is not full is under way, unless it takes too long: two at a time would be half as large.
    small: Arc<Semaphore>,
}

impl Gatherer {
    async fn work(self) {
        let mut messages = self.messages.lock().await;
        while let Some(message) = messages.recv().await {
            let barrier = match message {
                Message::Barrier(answer) => Some(answer),
                Message::Write(first) => {
                    let Gathered { jobs, turn, barrier } = self.gather(&mut messages, first).await;
                    self.send(jobs, turn).await;
                    barrier
                }
            };
            if let Some(answer) = barrier {
                drop(permits(&self.under_way, AT_ONCE).await);
                // The receiver may be gone; ignore the error.
                let _ = answer.send(());
            }
        }
    }

    /// Adds what waits to the first job until the batch is to be sent.
    async fn gather(&self, messages: &mut mpsc::Receiver<Message>, first: Job) -> Gathered {
        let deadline = Instant::now() + self.flush_interval;
        let mut size = Size::default();
        size.add(&first);
        let mut jobs = vec![first];
        let (turn, barrier) = loop {
            if size.rows >= self.batch_size || size.bytes >= MOST_BYTES {
                break (None, None);
            }
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(Message::Write(job)) => {
                        size.add(&job);
                        jobs.push(job);
                    }
                    Some(Message::Barrier(answer)) => break (None, Some(answer)),
                    None => break (None, None),
                },
                turn = permits(&self.small, 1) => break (Some(turn), None),
                () = sleep_until(deadline) => break (None, None),
            }
        };
        Gathered { jobs, turn, barrier }
    }

    /// Waits for its place among the batches under way, which slows down everyone who writes.
    async fn send(&self, jobs: Vec<Job>, turn: Option<OwnedSemaphorePermit>) {
        let place = permits(&self.under_way, 1).await;
        let store = self.store.clone();
        tokio::spawn(async move {
            commit(&store, jobs).await;
            drop((turn, place));
        });
    }
}

struct Gathered {
    jobs: Vec<Job>,
    /// The turn of a batch that is not full.
    turn: Option<OwnedSemaphorePermit>,
    barrier: Option<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, job: &Job) {
        self.rows += job.headers.len() + job.events.len();
        self.bytes += job.events.iter().map(|(_, event)| super::batch::bytes(event)).sum::<usize>();
    }
}

async fn permits(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_many_owned(count).await.expect("nobody closes these")
}

/// Stores jobs and answers them.
async fn commit(store: &Store, jobs: Vec<Job>) {
    match store.store(&jobs).await {
        // One of them may be to blame for what happened to all.
        Err(error) if jobs.len() > 1 && !error.is_retryable() => {
            for job in jobs {
                let outcome = store.store(std::slice::from_ref(&job)).await;
                let _ = job.answer.send(outcome);
            }
        }
        outcome => {
            for job in jobs {
                // The receiver may be gone; ignore the error.
                let _ = job.answer.send(outcome.clone());
            }
        }
    }
}
