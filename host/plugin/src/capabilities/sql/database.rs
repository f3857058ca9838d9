//! What every kind of database implements.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::cursor::{Cursor, Rows};
use crate::contract::batch::{Ended, EventBatch};
use crate::contract::bindings::reflow::capabilities::sql::{Binding, SqlError, Value};
use crate::contract::body::DecodeError;
use crate::contract::budget::Budget;

/// Maximum size of a value, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

/// Runs statements: a database, on any connection of its pool, or a transaction, on its own connection.
#[async_trait]
pub(super) trait Statements: Send + Sync {
    async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError>;
    async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError>;
    async fn insert_batch(
        &self,
        statement: String,
        bindings: Vec<Binding>,
        rows: EventBatch,
        budget: Budget,
    ) -> Result<u64, SqlError>;
    async fn query(&self, statement: String, params: Vec<Value>) -> Result<Cursor, SqlError>;
    async fn query_events(
        &self,
        statement: String,
        params: Vec<Value>,
        body: u32,
        budget: Budget,
    ) -> Result<EventBatch, SqlError>;
}

/// A database that was granted.
#[async_trait]
pub(super) trait Database: Statements {
    /// The name of the dialect in the interface.
    fn dialect(&self) -> &'static str;
    /// Its path, if it is a file.
    fn file(&self) -> Option<&Path> {
        None
    }
    async fn begin(&self) -> Result<Box<dyn OpenTransaction>, SqlError>;
    /// What the user may do beyond the database, as `may ..`.
    async fn excessive_right(&self) -> Result<Option<&'static str>, SqlError> {
        Ok(None)
    }
}

/// A transaction. Dropping it without a commit rolls it back, as soon as its running statement ends.
#[async_trait]
pub(super) trait OpenTransaction: Statements {
    async fn commit(self: Box<Self>) -> Result<(), SqlError>;
}

/// A handle to a database.
pub struct Connection(pub(super) Arc<dyn Database>);

impl Connection {
    pub(super) fn statements(&self) -> Result<&dyn Statements, Ended> {
        Ok(&*self.0)
    }
}

/// A handle to a transaction; `None` when the call that began it has ended.
pub struct Transaction(pub(super) Option<Box<dyn OpenTransaction>>);

impl Transaction {
    pub(super) fn statements(&self) -> Result<&dyn Statements, Ended> {
        self.0.as_deref().map(|open| open as &dyn Statements).ok_or(Ended("a transaction"))
    }

    /// Rolls it back at the end of the call that began it.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

/// Decodes the events from their bodies.
pub(super) fn events_of(bodies: &[Vec<u8>], budget: Budget) -> Result<EventBatch, SqlError> {
    EventBatch::from_bodies(bodies.iter().map(Vec::as_slice), budget).map_err(unreadable)
}

/// The error for what is not the body of an event, or is one that is too large.
pub(super) fn unreadable(error: DecodeError) -> SqlError {
    match error {
        DecodeError::TooLarge { .. } => SqlError::LimitExceeded(error.to_string()),
        error => SqlError::Conversion(error.to_string()),
    }
}
