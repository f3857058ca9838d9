//! The page's custom storage, completed, against a real server.

use std::cmp::Reverse;

use redis::{Client, Connection};
use reflow_tracing::SortOrder;
use reflow_tracing::storage::*;
// What the page imports.
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_conformance::{Ability, Subject, Suite};

use super::works;
use crate::redis_server::RedisServer;

pub struct RedisStorage {
    client: Client,
}

impl RedisStorage {
    pub fn new(url: &str) -> Result<Self, StorageError> {
        let client = Client::open(url)?;
        Ok(Self { client })
    }
}

#[async_trait]
impl StorageBackend for RedisStorage {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        let mut conn = self.client.get_connection()?;
        let key = format!("trace:{}", trace.trace_id);
        let value = serde_json::to_string(&trace)?;

        redis::cmd("SET")
            .arg(&key)
            .arg(&value)
            .arg("EX")
            .arg(3600) // 1 hour TTL
            // The page omits `::<()>`, which the compiler requires since edition 2024.
            .query::<()>(&mut conn)?;

        Ok(())
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let mut conn = self.client.get_connection()?;
        let key = format!("trace:{}", trace_id);

        let value: Option<String> = redis::cmd("GET").arg(&key).query(&mut conn)?;

        match value {
            Some(json) => Ok(Some(serde_json::from_str(&json)?)),
            None => Ok(None),
        }
    }

    // The page ends with "Implement other methods..."; the rest is the test's.

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let mut traces = all_traces(&mut self.client.get_connection()?)?;
        traces.retain(|trace| query.matches(trace));
        match query.order {
            SortOrder::NewestFirst => traces.sort_by_key(|trace| (Reverse(trace.start_time), trace.trace_id)),
            SortOrder::OldestFirst => traces.sort_by_key(|trace| (trace.start_time, trace.trace_id)),
        }
        let limit = query.limit.unwrap_or(TraceQuery::DEFAULT_LIMIT);
        Ok(traces.into_iter().skip(query.offset.unwrap_or(0)).take(limit).collect())
    }

    /// Two concurrent writers of one trace can lose an event, because one value holds the whole trace.
    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        let found = self.get_trace(trace_id).await?;
        let mut trace = found.ok_or_else(|| StorageError::NotFound(format!("trace {trace_id}")))?;
        if trace.events.iter().all(|stored| stored.event_id != event.event_id) {
            trace.events.push(event);
            trace.events.sort_by_key(|event| (event.timestamp, event.event_id));
            self.store_trace(trace).await?;
        }
        Ok(())
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        Ok(self.get_trace(trace_id).await?.map(|trace| trace.events).unwrap_or_default())
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        redis::cmd("PING").query::<()>(&mut self.client.get_connection()?)?;
        Ok(())
    }
}

fn all_traces(conn: &mut Connection) -> Result<Vec<FlowTrace>, StorageError> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("trace:*").query(conn)?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Option<String>> = redis::cmd("MGET").arg(keys).query(conn)?;
    // A trace may have expired since.
    let traces = values.into_iter().flatten().map(|json| {
        let mut trace: FlowTrace = serde_json::from_str(&json)?;
        trace.events.sort_by_key(|event| (event.timestamp, event.event_id));
        Ok(trace)
    });
    traces.collect()
}

#[tokio::test]
async fn the_redis_storage_works() {
    let server = RedisServer::start();
    let storage = RedisStorage::new(&server.url()).unwrap();
    works(&storage).await;

    let mut conn = storage.client.get_connection().unwrap();
    let traces = all_traces(&mut conn).unwrap();
    let ttl: i64 = redis::cmd("TTL").arg(format!("trace:{}", traces[0].trace_id)).query(&mut conn).unwrap();
    assert!((3500..=3600).contains(&ttl), "{ttl} s");
}

/// Only the suites on queries run. The page's value holds the whole trace as it was given. So events can't come before their
/// trace, out of order or from two concurrent writers; storing a header again removes the events; and nothing is validated.
#[tokio::test(flavor = "multi_thread")]
async fn the_redis_storage_answers_queries_as_the_contract_says() {
    let server = RedisServer::start();
    let url = server.url();
    let empty = || async {
        let storage = RedisStorage::new(&url)?;
        redis::cmd("FLUSHALL").query::<()>(&mut storage.client.get_connection()?)?;
        Ok(Subject::new(storage))
    };
    for topic in ["empty::", "shapes::", "predicates::", "actors::", "order::", "paging::"] {
        Suite::new().without(Ability::Deletion).only(topic).run(empty).await.assert_passed();
    }
}

#[tokio::test]
async fn a_stopped_redis_server_is_unavailable_and_retryable() {
    let server = RedisServer::start();
    let storage = RedisStorage::new(&server.url()).unwrap();
    drop(server);
    let error = storage.health_check().await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)) && error.is_retryable(), "{error:?}");
}

#[test]
fn an_invalid_address_is_a_configuration_error() {
    let error = RedisStorage::new("no address").err().unwrap();
    assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
}

#[tokio::test]
async fn an_error_of_redis_says_why() {
    let server = RedisServer::start();
    let storage = RedisStorage::new(&server.url()).unwrap();
    let mut conn = storage.client.get_connection().unwrap();
    let trace_id = TraceId::new();
    redis::cmd("SADD").arg(format!("trace:{trace_id}")).arg("no text").query::<()>(&mut conn).unwrap();
    let error = storage.get_trace(trace_id).await.unwrap_err();
    assert!(
        matches!(&error, StorageError::Other { message, retryable: false } if message.contains("WRONGTYPE")),
        "{error:?}"
    );

    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).query::<()>(&mut conn).unwrap();
    let error = storage.store_trace(FlowTrace::default()).await.unwrap_err();
    assert!(matches!(error, StorageError::Exhausted(_)), "{error:?}");
}

#[tokio::test]
async fn a_value_of_another_program_is_corrupt() {
    let server = RedisServer::start();
    let storage = RedisStorage::new(&server.url()).unwrap();
    let trace_id = TraceId::new();
    let mut conn = storage.client.get_connection().unwrap();
    redis::cmd("SET").arg(format!("trace:{trace_id}")).arg("{").query::<()>(&mut conn).unwrap();
    let error = storage.get_trace(trace_id).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt(_)), "{error:?}");
}
