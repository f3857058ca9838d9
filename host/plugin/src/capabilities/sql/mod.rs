//! `reflow:capabilities/sql`: databases that the operator granted, by label.
//!
//! A handle to a database does not hold a connection: each call leases one from the plugin's pool, and a transaction keeps
//! the one that it began on. So an idle plugin holds no connection. When an instance ends, its transactions are dropped, and
//! a dropped transaction is rolled back.
//!
//! Each kind of database is a folder that implements [`Database`] and [`OpenTransaction`]. A plugin has the rights of the user
//! in the granted URL. SQLite has no users, so the host confines the plugin to the file.

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

/// Rows of values.
type Rows = Vec<Vec<Value>>;

/// Maximum size of a value, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

/// Runs statements: a database, on any connection of its pool, or a transaction, on its own connection.
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
    /// The name of the dialect in the interface.
    fn dialect(&self) -> &'static str;
    /// Its path, if it is a file.
    fn file(&self) -> Option<&Path> {
        None
    }
    async fn begin(&self) -> Result<Box<dyn OpenTransaction>, SqlError>;
}

/// A transaction. Dropping it without a commit rolls it back, as soon as its running statement ends.
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

/// An error of the host, not of the database.
fn refused(message: impl Into<String>) -> SqlError {
    SqlError::Other(message.into())
}

/// An error of the database.
fn database_error(code: String, message: String, retryable: bool) -> SqlError {
    SqlError::Database(DatabaseError { code, message, retryable })
}

/// Decodes the events from their bodies.
fn events_of(bodies: &[Vec<u8>]) -> Result<EventBatch, SqlError> {
    EventBatch::from_bodies(bodies.iter().map(Vec::as_slice)).map_err(|error| SqlError::Conversion(error.to_string()))
}

/// The answer exceeds what an instance may hold.
fn answer_too_large(max_bytes: usize) -> SqlError {
    SqlError::LimitExceeded(format!("the answer has more than {max_bytes} bytes: request smaller pages"))
}

fn no_such_column(body: u32, columns: usize) -> SqlError {
    refused(format!("column {body} for the bodies does not exist: the answer has {columns} columns"))
}

fn wrong_number_of_parameters(wanted: usize, given: usize) -> SqlError {
    refused(format!("the statement has {wanted} parameters, but {given} were passed"))
}
