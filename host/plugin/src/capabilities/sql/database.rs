//! What every kind of database implements.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::cursor::{Cursor, Rows};
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::sql::{Binding, SqlError, Value};

/// Maximum size of a value, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

/// Runs statements: a database, on any connection of its pool, or a transaction, on its own connection.
#[async_trait]
pub(super) trait Statements: Send + Sync {
    async fn execute(&self, statement: String, params: Vec<Value>) -> Result<u64, SqlError>;
    async fn execute_many(&self, statement: String, rows: Rows) -> Result<u64, SqlError>;
    async fn insert_batch(&self, statement: String, bindings: Vec<Binding>, rows: EventBatch) -> Result<u64, SqlError>;
    async fn query(&self, statement: String, params: Vec<Value>) -> Result<Cursor, SqlError>;
    async fn query_events(
        &self,
        statement: String,
        params: Vec<Value>,
        body: u32,
        max_bytes: usize,
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

/// A handle to a transaction.
pub struct Transaction(pub(super) Box<dyn OpenTransaction>);

/// Decodes the events from their bodies.
pub(super) fn events_of(bodies: &[Vec<u8>]) -> Result<EventBatch, SqlError> {
    EventBatch::from_bodies(bodies.iter().map(Vec::as_slice)).map_err(|error| SqlError::Conversion(error.to_string()))
}
