//! `reflow:capabilities/sql`: databases that the operator granted, by label.
//!
//! A handle to a database is no connection of its own: every call takes one from the plugin's pool, and a transaction
//! keeps the one that it began on. So an idle plugin holds no connection, and one that dies leaves none behind: what it
//! had open is dropped with it, and a transaction that is dropped is rolled back.
//!
//! A kind of database is a folder that implements [`Database`] and [`OpenTransaction`]. A plugin can do to a database what
//! the user in the granted URL can; SQLite has no users, so the host itself keeps a plugin within the file.

mod cursor;
mod grants;
mod input;
mod mysql;
mod postgres;
mod repeated;
mod server;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use wasmtime::component::Resource;

use crate::batch::EventBatch;
use crate::bindings::reflow::capabilities::sql::{
    Binding, DatabaseError, Host, HostConnection, HostCursor, HostTransaction, SqlError, Value,
};
use crate::instance::InstanceState;
pub use cursor::Cursor;
pub(crate) use grants::Databases;

type Answer<T> = wasmtime::Result<Result<T, SqlError>>;

/// Rows of values, as they cross the boundary.
type Rows = Vec<Vec<Value>>;

/// The largest value, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

/// Where statements run: in a database, on any connection of its pool, or in a transaction, on its own.
#[async_trait]
trait Statements: Send + Sync {
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
trait Database: Statements {
    /// As the interface names it.
    fn dialect(&self) -> &'static str;
    /// Where it is, if it is a file of the host's.
    fn file(&self) -> Option<&Path> {
        None
    }
    async fn begin(&self) -> Result<Box<dyn OpenTransaction>, SqlError>;
}

/// A transaction. Dropped without a commit, it is rolled back, as soon as whatever runs in it has ended.
#[async_trait]
trait OpenTransaction: Statements {
    async fn commit(self: Box<Self>) -> Result<(), SqlError>;
}

/// A handle to a database.
pub struct Connection(Arc<dyn Database>);

/// A handle to a transaction.
pub struct Transaction(Box<dyn OpenTransaction>);

impl Host for InstanceState {}

/// The functions that run statements, for a database and for a transaction alike.
macro_rules! statements {
    ($session:ty) => {
        async fn execute(&mut self, this: Resource<$session>, statement: String, params: Vec<Value>) -> Answer<u64> {
            Ok(self.table.get(&this)?.0.execute(statement, params).await)
        }

        async fn execute_many(&mut self, this: Resource<$session>, statement: String, rows: Rows) -> Answer<u64> {
            Ok(self.table.get(&this)?.0.execute_many(statement, rows).await)
        }

        async fn insert_batch(
            &mut self,
            this: Resource<$session>,
            statement: String,
            bindings: Vec<Binding>,
            rows: Resource<EventBatch>,
        ) -> Answer<u64> {
            let rows = self.table.get(&rows)?.clone();
            Ok(self.table.get(&this)?.0.insert_batch(statement, bindings, rows).await)
        }

        async fn query(
            &mut self,
            this: Resource<$session>,
            statement: String,
            params: Vec<Value>,
        ) -> Answer<Resource<Cursor>> {
            match self.table.get(&this)?.0.query(statement, params).await {
                Ok(cursor) => Ok(Ok(self.table.push(cursor)?)),
                Err(error) => Ok(Err(error)),
            }
        }

        async fn query_events(
            &mut self,
            this: Resource<$session>,
            statement: String,
            params: Vec<Value>,
            body: u32,
        ) -> Answer<Resource<EventBatch>> {
            let max_bytes = self.limits.result_bytes();
            match self.table.get(&this)?.0.query_events(statement, params, body, max_bytes).await {
                Ok(batch) => Ok(self.add_batch(batch)?.map_err(SqlError::LimitExceeded)),
                Err(error) => Ok(Err(error)),
            }
        }

        async fn drop(&mut self, this: Resource<$session>) -> wasmtime::Result<()> {
            self.table.delete(this)?;
            Ok(())
        }
    };
}

impl HostConnection for InstanceState {
    statements!(Connection);

    async fn open(&mut self, label: String) -> Answer<Resource<Connection>> {
        match self.granted.sql.get(&label) {
            Some(database) => Ok(Ok(self.table.push(Connection(database))?)),
            None => Ok(Err(SqlError::NoSuchLabel(label))),
        }
    }

    async fn dialect(&mut self, connection: Resource<Connection>) -> wasmtime::Result<String> {
        Ok(self.table.get(&connection)?.0.dialect().into())
    }

    async fn begin(&mut self, this: Resource<Connection>) -> Answer<Resource<Transaction>> {
        match self.table.get(&this)?.0.begin().await {
            Ok(transaction) => Ok(Ok(self.table.push(Transaction(transaction))?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostTransaction for InstanceState {
    statements!(Transaction);

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Answer<()> {
        Ok(self.table.delete(transaction)?.0.commit().await)
    }
}

impl HostCursor for InstanceState {
    async fn columns(&mut self, this: Resource<Cursor>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&this)?.columns().to_vec())
    }

    async fn next(&mut self, this: Resource<Cursor>, max_rows: u32) -> Answer<Rows> {
        Ok(self.table.get_mut(&this)?.next(max_rows as usize).await)
    }

    async fn drop(&mut self, this: Resource<Cursor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// An error that the database has no part in.
fn refused(message: impl Into<String>) -> SqlError {
    SqlError::Other(message.into())
}

/// An error of the database's own.
fn database_error(code: String, message: String, retryable: bool) -> SqlError {
    SqlError::Database(DatabaseError { code, message, retryable })
}

/// The events whose bodies a query found.
fn events_of(bodies: &[Vec<u8>]) -> Result<EventBatch, SqlError> {
    EventBatch::from_bodies(bodies.iter().map(Vec::as_slice)).map_err(|error| SqlError::Conversion(error.to_string()))
}

/// That a query answers with more than an instance may hold.
fn answer_too_large(max_bytes: usize) -> SqlError {
    SqlError::LimitExceeded(format!("an answer of over {max_bytes} bytes: ask for pages"))
}

fn no_such_column(body: u32, columns: usize) -> SqlError {
    refused(format!("column {body} for the bodies: the answer has {columns} columns"))
}

fn wrong_number_of_parameters(wanted: usize, given: usize) -> SqlError {
    refused(format!("the statement has {wanted} parameters, {given} were given"))
}
