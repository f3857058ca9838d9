//! Limits the open connections to databases and servers, of each plugin and of all plugins together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a call waits for a free connection. A longer wait usually means that the plugin itself holds all of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connections of a plugin.
#[derive(Clone)]
pub(crate) struct ConnectionBudget {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    limit: usize,
}

/// The right to one connection, until it is dropped.
pub(crate) struct ConnectionPermit {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// No connection became free in time.
#[derive(Debug)]
pub(crate) struct TooManyConnections;

impl ConnectionBudget {
    /// At most `limit` connections at a time for the plugin, and as many as `all` has for all plugins.
    pub(crate) fn new(limit: usize, all: &Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(limit)), all: Arc::clone(all), limit }
    }

    /// The maximum connections of the plugin.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A connection, if one is free.
    pub(crate) fn try_acquire(&self) -> Option<ConnectionPermit> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(ConnectionPermit { _own: own, _all: all })
    }

    /// Waits for a connection, at most [`ACQUIRE_TIMEOUT`].
    pub(crate) async fn acquire(&self) -> Result<ConnectionPermit, TooManyConnections> {
        // The plugin's own limit first: waiting for it takes nothing from other plugins.
        let both = async {
            let own = Arc::clone(&self.own).acquire_owned().await.map_err(|_| TooManyConnections)?;
            let all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| TooManyConnections)?;
            Ok(ConnectionPermit { _own: own, _all: all })
        };
        tokio::time::timeout(ACQUIRE_TIMEOUT, both).await.unwrap_or(Err(TooManyConnections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_are_limited_for_each_plugin_and_in_total() {
        let all = Arc::new(Semaphore::new(3));
        let (one, other) = (ConnectionBudget::new(2, &all), ConnectionBudget::new(2, &all));
        let first = one.acquire().await.unwrap();
        let _second = one.acquire().await.unwrap();
        assert!(one.acquire().await.is_err(), "it has two");
        let _third = other.acquire().await.unwrap();
        assert!(other.acquire().await.is_err(), "there are three in all");
        drop(first);
        other.acquire().await.unwrap();
    }
}
