//! How many connections to databases and servers a plugin may have open, and all plugins together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a call waits for a connection to come free. Whoever waits longer most likely waits for itself: a plugin that
/// keeps what it opened.
const PATIENCE: Duration = Duration::from_secs(2);

/// A plugin's share of the connections.
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

/// No connection came free in time.
#[derive(Debug)]
pub(crate) struct TooManyConnections;

impl ConnectionBudget {
    /// At most `limit` connections at a time for the plugin, and as many as `all` has for all plugins.
    pub(crate) fn new(limit: usize, all: &Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(limit)), all: Arc::clone(all), limit }
    }

    /// The most connections that the plugin can have.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until there is a connection to be had, but not for long.
    pub(crate) async fn acquire(&self) -> Result<ConnectionPermit, TooManyConnections> {
        // Its own first: who waits here takes nothing from the others.
        let both = async {
            let own = Arc::clone(&self.own).acquire_owned().await.map_err(|_| TooManyConnections)?;
            let all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| TooManyConnections)?;
            Ok(ConnectionPermit { _own: own, _all: all })
        };
        tokio::time::timeout(PATIENCE, both).await.unwrap_or(Err(TooManyConnections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plugin_gets_no_more_than_its_share_and_none_than_there_are() {
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
