//! Runs a plugin's commands on a server.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream as streams};
use redis::{Cmd, Pipeline, Script, Value};

use super::prefix::{Answer, refused};
use super::reply;
use super::servers::{Lease, Server};
use super::template::{CHUNKS_IN_FLIGHT, Rows, Templates};
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::redis::{Expectation, Part, RedisError};

/// A command's name and arguments.
pub(super) type Command = Vec<Vec<u8>>;

/// A server that a plugin has opened.
pub struct Connection {
    pub(super) server: Arc<Server>,
}

impl Connection {
    pub(super) async fn pipeline(&self, commands: Vec<Command>) -> Result<Vec<Value>, RedisError> {
        let mut packed = Pipeline::with_capacity(commands.len());
        let answers = self.pack(commands, &mut packed)?;
        let lease = self.server.lease().await?;
        let values = lease.run(&packed).await?;
        lease.give_back();
        Ok(self.strip(&answers, values))
    }

    pub(super) async fn atomically(
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

    pub(super) async fn pipeline_batch(
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

    pub(super) async fn eval(
        &self,
        script: &str,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> Result<Value, RedisError> {
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
