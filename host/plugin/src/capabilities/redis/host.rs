//! The functions of the interface.

use wasmtime::component::Resource;

use super::connection::{Command, Connection};
use super::reply;
use crate::capabilities::state::HostState;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::redis::{
    Expectation, Host, HostConnection, Part, RedisError, Reply,
};
use crate::contract::budget::Budget;

type Answered<T> = wasmtime::Result<Result<T, RedisError>>;

/// Copies of commands that the host makes: prepared, and written for the server.
const COPIES: usize = 2;

/// Checks what a plugin passes before anything is done with it: arguments, keys, parts, by their bytes.
fn check(passed: impl IntoIterator<Item = usize>, budget: &mut Budget) -> Result<(), RedisError> {
    let passed = passed.into_iter().map(|bytes| bytes.saturating_mul(COPIES));
    budget.take_list(passed).map_err(|error| RedisError::LimitExceeded(error.to_string()))
}

/// The arguments of the commands, and the commands themselves.
fn of_commands<T>(commands: &[Vec<T>], bytes: impl Fn(&T) -> usize + Copy) -> impl Iterator<Item = usize> {
    commands.iter().flat_map(move |command| command.iter().map(bytes).chain([0]))
}

fn bytes_of_part(part: &Part) -> usize {
    match part {
        Part::Fixed(bytes) => bytes.len(),
        Part::Field(name) | Part::Sortable(name) | Part::Present(name) => name.len(),
    }
}

impl Host for HostState {}

impl HostConnection for HostState {
    async fn open(&mut self, label: String) -> Answered<Resource<Connection>> {
        match self.granted.redis.get(&label) {
            Some(server) => Ok(Ok(self.table.push(Connection { server })?)),
            None => Ok(Err(RedisError::NoSuchLabel(label))),
        }
    }

    async fn pipeline(&mut self, this: Resource<Connection>, commands: Vec<Command>) -> Answered<Vec<Reply>> {
        if let Err(problem) = check(of_commands(&commands, Vec::len), &mut self.budget()) {
            return Ok(Err(problem));
        }
        Ok(self.table.get(&this)?.pipeline(commands).await.and_then(reply::flatten))
    }

    async fn atomically(
        &mut self,
        this: Resource<Connection>,
        expected: Vec<Expectation>,
        commands: Vec<Command>,
    ) -> Answered<Option<Vec<Reply>>> {
        let keys = expected.iter().map(|expected| expected.key.len() + expected.value.as_ref().map_or(0, Vec::len));
        if let Err(problem) = check(keys.chain(of_commands(&commands, Vec::len)), &mut self.budget()) {
            return Ok(Err(problem));
        }
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
        let rows = self.batch(&rows)?.clone();
        let mut budget = self.budget();
        let arguments = unless.iter().chain(&commands).flat_map(|command| of_commands(command, bytes_of_part));
        if let Err(problem) = check(arguments, &mut budget) {
            return Ok(Err(problem));
        }
        let max_bytes = budget.left();
        Ok(self.table.get(&this)?.pipeline_batch(unless, commands, &rows, max_bytes).await)
    }

    async fn eval(
        &mut self,
        this: Resource<Connection>,
        script: String,
        keys: Vec<Vec<u8>>,
        arguments: Vec<Vec<u8>>,
    ) -> Answered<Vec<Reply>> {
        if let Err(problem) = check([&keys, &arguments].into_iter().flatten().map(Vec::len), &mut self.budget()) {
            return Ok(Err(problem));
        }
        let value = self.table.get(&this)?.eval(&script, &keys, &arguments).await;
        Ok(value.and_then(|value| reply::flatten(vec![value])))
    }

    async fn query_events(
        &mut self,
        this: Resource<Connection>,
        commands: Vec<Command>,
    ) -> Answered<Resource<EventBatch>> {
        let mut budget = self.budget();
        if let Err(problem) = check(of_commands(&commands, Vec::len), &mut budget) {
            return Ok(Err(problem));
        }
        let values = self.table.get(&this)?.pipeline(commands).await;
        match values.and_then(|values| reply::events(&values, budget)) {
            Ok(batch) => Ok(self.add_batch(batch)?.map_err(RedisError::LimitExceeded)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
