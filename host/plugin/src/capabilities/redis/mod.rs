//! `reflow:capabilities/redis`: Redis servers that the operator granted, by label.
//!
//! A handle to a server does not hold a connection: each call leases one exclusively. So an idle plugin takes no connection
//! from others, and after a restart of the server the next call connects again.

mod commands;
mod prefix;
mod reply;
mod servers;
mod stream;
mod template;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream as streams};
use redis::{Cmd, Pipeline, Script, Value};
use wasmtime::component::Resource;

use crate::batch::EventBatch;
use crate::bindings::reflow::capabilities::redis::{Expectation, Host, HostConnection, Part, RedisError, Reply};
use crate::instance::InstanceState;
use prefix::{Answer, refused};
pub(crate) use servers::Servers;
use servers::{Lease, Server};
use template::{Rows, Templates};

type Answered<T> = wasmtime::Result<Result<T, RedisError>>;

/// A command's name and arguments.
type Command = Vec<Vec<u8>>;

/// Chunks of a batch in flight: enough to keep the server busy, few enough to bound the memory.
const CHUNKS_IN_FLIGHT: usize = 4;

/// A server that a plugin has opened.
pub struct Connection {
    server: Arc<Server>,
}

impl Host for InstanceState {}

impl HostConnection for InstanceState {
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

impl Connection {
    async fn pipeline(&self, commands: Vec<Command>) -> Result<Vec<Value>, RedisError> {
        let mut packed = Pipeline::with_capacity(commands.len());
        let answers = self.pack(commands, &mut packed)?;
        let lease = self.server.lease().await?;
        let values = lease.run(&packed).await?;
        lease.give_back();
        Ok(self.strip(&answers, values))
    }

    async fn atomically(
        &self,
        expected: Vec<Expectation>,
        commands: Vec<Command>,
    ) -> Result<Option<Vec<Value>>, RedisError> {
        let mut transaction = Pipeline::with_capacity(commands.len() + 2);
        transaction.cmd("MULTI");
        let answers = self.pack(commands, &mut transaction)?;
        transaction.cmd("EXEC");
        let lease = self.server.lease().await?;
        if !expected.is_empty() && !self.watch(&lease, &expected).await? {
            lease.run_one(redis::cmd("UNWATCH")).await?;
            lease.give_back();
            return Ok(None);
        }
        let mut replies = lease.run(&transaction).await?;
        lease.give_back();
        match replies.pop() {
            Some(Value::Array(values)) => Ok(Some(self.strip(&answers, values))),
            Some(Value::Nil) => Ok(None),
            // The server refused a command before any ran; the earlier answers say which.
            last => Err(reply::first_refusal(&replies)
                .or_else(|| reply::refusal(last.as_ref()?))
                .unwrap_or_else(|| RedisError::Other("the server did not answer the transaction".into()))),
        }
    }

    /// Watches the keys. Returns whether they hold the expected values.
    async fn watch(&self, lease: &Lease<'_>, expected: &[Expectation]) -> Result<bool, RedisError> {
        let keys: Vec<_> = expected.iter().map(|expectation| self.server.prefix.key(&expectation.key)).collect();
        let mut commands = Pipeline::with_capacity(keys.len() + 1);
        commands.cmd("WATCH").arg(&keys);
        for (Expectation { value, .. }, key) in expected.iter().zip(&keys) {
            commands.cmd(if value.is_some() { "GET" } else { "EXISTS" }).arg(key);
        }
        let found = lease.run(&commands).await?;
        if let Some(refusal) = found.first().and_then(reply::refusal) {
            return Err(refusal);
        }
        Ok(expected.iter().zip(found.iter().skip(1)).all(|(Expectation { value, .. }, found)| match (value, found) {
            (Some(value), Value::BulkString(found)) => value == found,
            (None, Value::Int(0)) => true,
            // A value of another type does not match, but is not an error.
            _ => false,
        }))
    }

    async fn pipeline_batch(
        &self,
        unless: Option<Vec<Vec<Part>>>,
        commands: Vec<Vec<Vec<Part>>>,
        rows: &EventBatch,
        max_bytes: usize,
    ) -> Result<u64, RedisError> {
        let templates = Templates::new(unless, commands, &self.server.prefix, max_bytes)?;
        let lease = self.server.lease().await?;
        // While the server processes one chunk, the next is prepared.
        let run = async |rows: Result<Rows<'_>, RedisError>| {
            let mut rows = rows?;
            if let Some(checks) = rows.checks.take() {
                rows = rows.absent(&lease.run_all(&checks).await?);
            }
            let mut ran = 0;
            for commands in rows.commands() {
                ran += lease.run_all(&commands?).await?.len() as u64;
            }
            Ok(ran)
        };
        let chunks = streams::iter(templates.chunks(rows.rows())).map(run).buffered(CHUNKS_IN_FLIGHT);
        let ran = chunks.try_fold(0, async |all, ran| Ok(all + ran)).await?;
        lease.give_back();
        Ok(ran)
    }

    async fn eval(&self, script: &str, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Result<Value, RedisError> {
        if !self.server.scripts {
            let setting = self.server.setting();
            return Err(refused(
                "EVAL",
                &format!("set `scripts = true` in {setting} if you trust the plugin with all keys of the server"),
            ));
        }
        let lease = self.server.lease().await?;
        let by_digest = Script::new(script);
        let command = |name: &str, script: &str| {
            let mut command: Cmd = redis::cmd(name);
            command.arg(script).arg(keys.len());
            keys.iter().for_each(|key| {
                command.arg(self.server.prefix.key(key));
            });
            command.arg(arguments).take()
        };
        let mut value = lease.run_one(command("EVALSHA", by_digest.get_hash())).await?;
        if let Value::ServerError(error) = &value
            && error.code() == "NOSCRIPT"
        {
            value = lease.run_one(command("EVAL", script)).await?;
        }
        lease.give_back();
        match reply::refusal(&value) {
            Some(refusal) => Err(refusal),
            None => Ok(value),
        }
    }

    /// Adds the commands with prefixed keys. Returns how to process their answers.
    fn pack(&self, commands: Vec<Command>, packed: &mut Pipeline) -> Result<Vec<Answer>, RedisError> {
        let mut answers = Vec::with_capacity(commands.len());
        for mut command in commands {
            answers.push(self.server.prefix.apply(&mut command)?);
            packed.add_command(Cmd::new().arg(command).take());
        }
        Ok(answers)
    }

    fn strip(&self, answers: &[Answer], values: Vec<Value>) -> Vec<Value> {
        answers.iter().zip(values).map(|(answer, value)| self.server.prefix.strip(*answer, value)).collect()
    }
}
