//! The functions of the interface.

use wasmtime::component::Resource;

use super::cursor::{Cursor, Rows};
use super::database::{Connection, Transaction};
use super::input::{check_arguments, check_bindings};
use crate::capabilities::state::HostState;
use crate::contract::batch::{Ended, EventBatch};
use crate::contract::bindings::reflow::capabilities::sql::{
    Binding, Host, HostConnection, HostCursor, HostTransaction, SqlError, Value,
};

type Answer<T> = wasmtime::Result<Result<T, SqlError>>;

impl Host for HostState {}

/// The functions that run statements, for a database and for a transaction alike.
macro_rules! statements {
    ($session:ty) => {
        async fn execute(&mut self, this: Resource<$session>, statement: String, params: Vec<Value>) -> Answer<u64> {
            let session = self.table.get(&this)?.statements()?;
            if let Err(problem) = check_arguments(&statement, &params, &mut self.budget()) {
                return Ok(Err(problem));
            }
            Ok(session.execute(statement, params).await)
        }

        async fn execute_many(&mut self, this: Resource<$session>, statement: String, rows: Rows) -> Answer<u64> {
            let session = self.table.get(&this)?.statements()?;
            if let Err(problem) = check_arguments(&statement, rows.iter().flatten(), &mut self.budget()) {
                return Ok(Err(problem));
            }
            Ok(session.execute_many(statement, rows).await)
        }

        async fn insert_batch(
            &mut self,
            this: Resource<$session>,
            statement: String,
            bindings: Vec<Binding>,
            rows: Resource<EventBatch>,
        ) -> Answer<u64> {
            let (session, mut budget) = (self.table.get(&this)?.statements()?, self.budget());
            let rows = self.batch(&rows)?.clone();
            if let Err(problem) = check_bindings(&statement, &bindings, &mut budget) {
                return Ok(Err(problem));
            }
            Ok(session.insert_batch(statement, bindings, rows, budget).await)
        }

        async fn query(
            &mut self,
            this: Resource<$session>,
            statement: String,
            params: Vec<Value>,
        ) -> Answer<Resource<Cursor>> {
            let session = self.table.get(&this)?.statements()?;
            if let Err(problem) = check_arguments(&statement, &params, &mut self.budget()) {
                return Ok(Err(problem));
            }
            let cursor = match session.query(statement, params).await {
                Ok(cursor) => cursor,
                Err(error) => return Ok(Err(error)),
            };
            match self.reserve(cursor.bytes()) {
                Ok(()) => Ok(Ok(self.table.push(cursor)?)),
                Err(problem) => Ok(Err(problem.into())),
            }
        }

        async fn query_events(
            &mut self,
            this: Resource<$session>,
            statement: String,
            params: Vec<Value>,
            body: u32,
        ) -> Answer<Resource<EventBatch>> {
            let (session, mut budget) = (self.table.get(&this)?.statements()?, self.budget());
            if let Err(problem) = check_arguments(&statement, &params, &mut budget) {
                return Ok(Err(problem));
            }
            match session.query_events(statement, params, body, budget).await {
                Ok(batch) => Ok(self.add_batch(batch)?.map_err(SqlError::LimitExceeded)),
                Err(error) => Ok(Err(error)),
            }
        }
    };
}

impl HostConnection for HostState {
    statements!(Connection);

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }

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
            Ok(transaction) => Ok(Ok(self.table.push(Transaction(Some(transaction)))?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostTransaction for HostState {
    statements!(Transaction);

    async fn drop(&mut self, this: Resource<Transaction>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Answer<()> {
        let open = self.table.delete(transaction)?.0.ok_or(Ended("a transaction"))?;
        Ok(open.commit().await)
    }
}

impl HostCursor for HostState {
    async fn columns(&mut self, this: Resource<Cursor>) -> wasmtime::Result<Vec<String>> {
        let cursor = self.table.get(&this)?;
        cursor.check()?;
        Ok(cursor.columns().to_vec())
    }

    async fn next(&mut self, this: Resource<Cursor>, max_rows: u32) -> Answer<Rows> {
        let cursor = self.table.get_mut(&this)?;
        cursor.check()?;
        let before = cursor.bytes();
        let rows = cursor.next(max_rows as usize).await;
        let after = cursor.bytes();
        self.release(before);
        match self.reserve(after) {
            Ok(()) => Ok(rows),
            Err(problem) => {
                self.table.get_mut(&this)?.end();
                Ok(Err(problem.into()))
            }
        }
    }

    async fn drop(&mut self, this: Resource<Cursor>) -> wasmtime::Result<()> {
        let cursor = self.table.delete(this)?;
        self.release(cursor.bytes());
        Ok(())
    }
}
