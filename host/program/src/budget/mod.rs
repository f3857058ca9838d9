//! One budget for the memory that all connections hold: messages that arrive, events that wait, answers, notifications, filters
//! and open traces.
//!
//! Each connection has an [`Account`]. What it is about to hold, it takes from the budget first, as a [`Share`] that is given back
//! when it is dropped.
//!
//! - **Waiting.** When the budget is used up, [`Account::take`] waits, in the order of arrival. A connection that waits reads
//!   nothing, so its peer waits too.
//! - **Small connections.** An eighth of the budget is for connections that hold little. They go on while others wait.
//! - **The greediest.** When waiting does not help, the connection that holds the most is ended: first of those that gave nothing
//!   back lately, because a sender whose events are being stored is not to blame for a slow store. So no set of connections can
//!   keep the budget used up, whatever they wait for.
//!
//! Shares are counted in KiB. They are taken for a message or a batch, not for an event, so that they cost nothing measurable.

mod account;
mod greediest;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use account::{Account, Share, UsedUp};
use greediest::Accounts;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

/// The unit of shares.
const KIB: usize = 1024;

/// What a connection holds in any case: buffers, its task, what the system needs not be asked for.
pub const CONNECTION_BYTES: usize = 32 * KIB;

/// What a connection may hold of the part for small ones.
const SMALL: usize = 256 * KIB;

/// The part for small connections: one of so many.
const RESERVED: usize = 8;

/// The budget. Clones are the same.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    /// In bytes.
    total: usize,
    /// In [`KIB`].
    general: Arc<Semaphore>,
    /// In [`KIB`], for small connections.
    reserved: Arc<Semaphore>,
    /// In [`KIB`], for what stays: half of the budget.
    lasting: Semaphore,
    accounts: Mutex<Accounts>,
    waits: Counter,
    ended: Counter,
    refused: Counter,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(total: usize) -> Self {
        let kib = total / KIB;
        let reserved = kib / RESERVED;
        Self(Arc::new(Shared {
            total,
            general: Arc::new(Semaphore::new(kib - reserved)),
            reserved: Arc::new(Semaphore::new(reserved)),
            lasting: Semaphore::new(kib / 2),
            accounts: Mutex::default(),
            waits: Counter::default(),
            ended: Counter::default(),
            refused: Counter::default(),
        }))
    }

    /// An account for a new connection, which holds [`CONNECTION_BYTES`]; `None` if there is no room for it.
    pub fn account(&self) -> Option<Account> {
        let account = Account::open(self);
        if account.is_none() {
            self.0.refused.inc();
        }
        account
    }

    /// Ends every account, so that nobody waits any more: the host stops.
    pub fn close(&self) {
        self.accounts().end_all();
    }

    /// The bytes of the budget.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// The bytes that are held now.
    pub fn held(&self) -> usize {
        let free = self.0.general.available_permits() + self.0.reserved.available_permits();
        self.0.total.saturating_sub(free * KIB)
    }

    /// How often a connection had to wait.
    pub fn waits(&self) -> &Counter {
        &self.0.waits
    }

    /// The connections that were ended because they held the most.
    pub fn ended(&self) -> &Counter {
        &self.0.ended
    }

    /// The connections that found no room.
    pub fn refused(&self) -> &Counter {
        &self.0.refused
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        // Nothing between the steps of a change panics.
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
