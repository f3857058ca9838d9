//! The functions of the interface.

use wasmtime::component::Resource;

use super::cursor::{Cursor, Rows};
use super::database::{Connection, Transaction};
use crate::capabilities::state::HostState;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::sql::{
    Binding, Host, HostConnection, HostCursor, HostTransaction, SqlError, Value,
};

type Answer<T> = wasmtime::Result<Result<T, SqlError>>;

impl Host for HostState {}

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

impl HostConnection for HostState {
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

impl HostTransaction for HostState {
    statements!(Transaction);

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Answer<()> {
        Ok(self.table.delete(transaction)?.0.commit().await)
    }
}

impl HostCursor for HostState {
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
