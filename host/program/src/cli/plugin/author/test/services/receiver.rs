use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode};
use reflow_tracing::storage::conformance::{Answer, Receiver};
use reflow_tracing::storage::{MemoryStorage, StorageBackend, StorageError};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::content::Content;

/// The maximum length of a request.
const MAX_BODY: usize = 64 << 20;

/// A receiver on a free port of this machine. It puts what it accepts into a store in memory, and ends with its value.
pub(in super::super) struct HttpReceiver {
    origin: String,
    shared: Shared,
    task: AbortHandle,
}

#[derive(Clone, Default)]
struct Shared {
    answers: Receiver,
    accepted: Arc<MemoryStorage>,
    problem: Arc<Mutex<Option<String>>>,
}

impl HttpReceiver {
    pub(in super::super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let shared = Shared::default();
        let router = Router::new().fallback(receive).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { origin, shared, task })
    }

    /// The origin for a grant, such as `http://127.0.0.1:40000`.
    pub(in super::super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Says how it answers.
    pub(in super::super) fn answers(&self) -> Receiver {
        self.shared.answers.clone()
    }

    /// What it has accepted.
    pub(in super::super) fn accepted(&self) -> &MemoryStorage {
        &self.shared.accepted
    }

    /// Fails once if it could not read what arrived since the last call.
    pub(in super::super) fn check(&self) -> Result<(), StorageError> {
        match self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(message) => Err(StorageError::Other { message, retryable: false }),
            None => Ok(()),
        }
    }
}

impl Drop for HttpReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Shared>, method: Method, body: Bytes) -> StatusCode {
    // Such as HEAD, with which a plugin may look whether there is a receiver.
    if ![Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        return StatusCode::NO_CONTENT;
    }
    match shared.answers.next_answer() {
        Answer::Accept => match shared.accept(&body).await {
            Ok(()) => StatusCode::OK,
            Err(problem) => {
                *shared.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                StatusCode::UNPROCESSABLE_ENTITY
            }
        },
        Answer::Refuse(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::Silence => std::future::pending().await,
    }
}

impl Shared {
    async fn accept(&self, body: &[u8]) -> Result<(), String> {
        let Content { traces, events } = Content::read(body)?;
        let stored = async {
            self.accepted.store_events(events).await?;
            self.accepted.store_traces(traces).await
        };
        stored.await.map_err(|error| format!("the receiver can't keep what arrived: {error}"))
    }
}
