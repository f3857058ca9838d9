//! The functions of the interface.

use wasmtime::component::Resource;

use super::connection::{Command, Connection};
use super::reply;
use crate::capabilities::state::HostState;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::redis::{
    Expectation, Host, HostConnection, Part, RedisError, Reply,
};

type Answered<T> = wasmtime::Result<Result<T, RedisError>>;

impl Host for HostState {}

impl HostConnection for HostState {
    async fn open(&mut self, label: String) -> Answered<Resource<Connection>> {
        match self.granted.redis.get(&label) {
            Some(server) => Ok(Ok(self.table.push(Connection { server })?)),
            None => Ok(Err(RedisError::NoSuchLabel(label))),
        }
    }

    async fn pipeline(&mut self, this: Resource<Connection>, commands: Vec<Command>) -> Answered<Vec<Reply>> {
        Ok(self.table.get(&this)?.pipeline(commands).await.and_then(reply::flatten))
    }

    async fn atomically(
        &mut self,
        this: Resource<Connection>,
        expected: Vec<Expectation>,
        commands: Vec<Command>,
    ) -> Answered<Option<Vec<Reply>>> {
        let replies = self.table.get(&this)?.atomically(expected, commands).await;
        Ok(replies.and_then(|values| values.map(reply::flatten).transpose()))
    }

    async fn pipeline_batch(
        &mut self,
        this: Resource<Connection>,
        unless: Option<Vec<Vec<Part>>>,
        commands: Vec<Vec<Vec<Part>>>,
        rows: Resource<EventBatch>,
    ) -> Answered<u64> {
        let rows = self.table.get(&rows)?.clone();
        let max_bytes = self.limits.result_bytes();
        Ok(self.table.get(&this)?.pipeline_batch(unless, commands, &rows, max_bytes).await)
    }

    async fn eval(
        &mut self,
        this: Resource<Connection>,
        script: String,
        keys: Vec<Vec<u8>>,
        arguments: Vec<Vec<u8>>,
    ) -> Answered<Vec<Reply>> {
        let value = self.table.get(&this)?.eval(&script, &keys, &arguments).await;
        Ok(value.and_then(|value| reply::flatten(vec![value])))
    }

    async fn query_events(
        &mut self,
        this: Resource<Connection>,
        commands: Vec<Command>,
    ) -> Answered<Resource<EventBatch>> {
        match self.table.get(&this)?.pipeline(commands).await.and_then(|values| reply::events(&values)) {
            Ok(batch) => Ok(self.add_batch(batch)?.map_err(RedisError::LimitExceeded)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
