//! `reflow:capabilities/sql`: databases that the operator granted, by label.
//!
//! A handle to a database is no connection of its own: every call takes one from the plugin's pool, and a transaction
//! keeps the one that it began on. So an idle plugin holds no connection, and one that dies leaves none behind: what it
//! had open is dropped with it, and a transaction that is dropped is rolled back.

mod grants;
mod session;
mod sqlite;
mod statement;
mod work;

use wasmtime::component::Resource;

use crate::plugin::batch::EventBatch;
use crate::plugin::bindings::reflow::capabilities::sql::{
    Binding, DatabaseError, Host, HostConnection, HostCursor, HostTransaction, SqlError, Value,
};
use crate::plugin::instance::InstanceState;
pub(crate) use grants::Databases;
use session::Session;
pub use session::{Connection, Cursor, Transaction};

type Answer<T> = wasmtime::Result<Result<T, SqlError>>;

/// Rows of values, as they cross the boundary.
type Rows = Vec<Vec<Value>>;

impl Host for InstanceState {}

/// The functions that run statements, for a database and for a transaction alike.
macro_rules! statements {
    ($session:ty) => {
        async fn execute(&mut self, this: Resource<$session>, statement: String, params: Vec<Value>) -> Answer<u64> {
            Ok(self.table.get(&this)?.execute(statement, params).await)
        }

        async fn execute_many(&mut self, this: Resource<$session>, statement: String, rows: Rows) -> Answer<u64> {
            Ok(self.table.get(&this)?.execute_many(statement, rows).await)
        }

        async fn insert_batch(
            &mut self,
            this: Resource<$session>,
            statement: String,
            bindings: Vec<Binding>,
            rows: Resource<EventBatch>,
        ) -> Answer<u64> {
            let rows = self.table.get(&rows)?.clone();
            Ok(self.table.get(&this)?.insert_batch(statement, bindings, rows).await)
        }

        async fn query(
            &mut self,
            this: Resource<$session>,
            statement: String,
            params: Vec<Value>,
        ) -> Answer<Resource<Cursor>> {
            match self.table.get(&this)?.query(statement, params).await {
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
            match self.table.get(&this)?.query_events(statement, params, body, max_bytes).await {
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
            Some(database) => Ok(Ok(self.table.push(Connection::new(database))?)),
            None => Ok(Err(SqlError::NoSuchLabel(label))),
        }
    }

    async fn dialect(&mut self, connection: Resource<Connection>) -> wasmtime::Result<String> {
        Ok(self.table.get(&connection)?.dialect().into())
    }

    async fn begin(&mut self, this: Resource<Connection>) -> Answer<Resource<Transaction>> {
        match self.table.get(&this)?.begin().await {
            Ok(transaction) => Ok(Ok(self.table.push(transaction)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostTransaction for InstanceState {
    statements!(Transaction);

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Answer<()> {
        Ok(self.table.delete(transaction)?.commit().await)
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
