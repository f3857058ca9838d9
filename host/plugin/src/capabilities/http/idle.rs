//! Idle connections, kept for the next request to the same origin. All instances of a plugin share them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

use super::origins::Origin;
use crate::capabilities::connections::{ConnectionBudget, ConnectionPermit, TooManyConnections};

/// How long a connection is kept. Most servers close theirs after a minute or more.
const KEPT: Duration = Duration::from_secs(30);
/// Maximum number that are kept.
const MOST: usize = 16;

/// A connection that can take a request.
pub(super) struct Connection {
    pub sender: SendRequest<WasiBody>,
    pub _permit: ConnectionPermit,
}

/// The idle connections of a plugin. Each counts as one of the plugin's connections, and is closed when another is needed.
#[derive(Default)]
pub(crate) struct IdleConnections(Mutex<Vec<Idle>>);

struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

impl IdleConnections {
    /// The connection to `origin` that was used last.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut all = self.sweep();
        let index = all.iter().rposition(|idle| idle.origin == *origin)?;
        Some(all.remove(index).connection)
    }

    /// Keeps a connection for [`KEPT`].
    pub(super) fn put(self: Arc<Self>, origin: Origin, connection: Connection) {
        let mut all = self.sweep();
        if all.len() >= MOST {
            all.remove(0);
        }
        let first = all.is_empty();
        all.push(Idle { origin, connection, since: Instant::now() });
        drop(all);
        if first {
            tokio::spawn(async move {
                // Until all are gone, however often one is used in between.
                while !self.sweep().is_empty() {
                    tokio::time::sleep(KEPT).await;
                }
            });
        }
    }

    /// The right to one more connection. Closes an idle one if there are too many.
    pub(super) async fn permit(&self, budget: &ConnectionBudget) -> Result<ConnectionPermit, Error> {
        if let Some(permit) = budget.try_acquire() {
            return Ok(permit);
        }
        {
            let mut all = self.sweep();
            if !all.is_empty() {
                all.remove(0);
            }
        }
        budget.acquire().await.map_err(|TooManyConnections| Error::ConnectionLimitReached)
    }

    /// The connections without those that the server closed, or that were not used for long.
    fn sweep(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|idle| !idle.connection.sender.is_closed() && idle.since.elapsed() < KEPT);
        all
    }
}
