//! Reads from a replica: a second server, which follows the first one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_conformance as conformance;
use reflow_tracing_conformance::Subject;

use super::{config, event, trace};
use crate::servers::Postgres;

struct Pair {
    primary: Postgres,
    replica: Postgres,
}

impl Pair {
    fn start() -> Arc<Self> {
        let primary = Postgres::start();
        let replica = primary.replica();
        Arc::new(Self { primary, replica })
    }

    /// For a new schema. A commit is in the log of the primary, and soon on its way, before it is acknowledged.
    fn config(&self) -> PostgresConfig {
        let config = config(&self.primary);
        PostgresConfig {
            connection_url: format!("{}&options[synchronous_commit]=on", config.connection_url),
            read_replica_url: Some(self.replica.url("postgres")),
            ..config
        }
    }

    async fn storage(&self) -> PostgresStorage {
        PostgresStorage::with_config(self.config()).await.unwrap()
    }

    /// Waits until the replica has all that was written, and the store reads it.
    async fn until_read(&self, storage: &PostgresStorage) {
        let written = self.primary.query("SELECT pg_current_wal_flush_lsn()");
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        until("the replica has it all", async || self.replica.query(&reached) == "t").await;
        until("the replica is read", async || storage.warnings().is_empty()).await;
    }

    /// Whether a session of a store has read events here.
    fn is_read(server: &Postgres) -> bool {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reflow-tracing' \
                        AND query LIKE '%FROM event%'";
        server.query(sessions) != "0"
    }
}

/// Waits until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !so().await {
        assert!(Instant::now() < patience, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn of_now() -> FlowTrace {
    trace(chrono::Utc::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_with_a_replica_keeps_the_contract() {
    let pair = Pair::start();
    let subject = || {
        let pair = pair.clone();
        async move {
            let storage = PostgresStorage::with_config(pair.config()).await?;
            Ok(Subject::new(storage).keeping(pair))
        }
    };
    conformance::run(subject).await.assert_passed();
    // Of sessions that have ended nothing is known any more.
    let transactions = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";
    let read = pair.replica.query(transactions).parse::<u32>().unwrap();
    assert!(read > 100, "the replica was read, {read} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_to_the_replica_and_writes_to_the_primary() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let stored = of_now();
    storage.store_trace(stored.clone()).await.unwrap();
    pair.until_read(&storage).await;
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));
    assert_eq!(storage.query_traces(TraceQuery::default()).await.unwrap(), std::slice::from_ref(&stored));
    assert!(Pair::is_read(&pair.replica) && !Pair::is_read(&pair.primary));
    let streamed: Vec<TraceEvent> = storage.stream_events(stored.trace_id).try_collect().await.unwrap();
    assert_eq!(streamed, stored.events);
    assert!(!Pair::is_read(&pair.primary));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_reads_its_own_writes_while_the_replica_follows() {
    let pair = Pair::start();
    for url_of_the_primary in [pair.config().connection_url, pair.primary.url("postgres")] {
        // The second one acknowledges a commit before it is in the log.
        let config = PostgresConfig { connection_url: url_of_the_primary, ..pair.config() };
        let storage = PostgresStorage::with_config(config).await.unwrap();
        let writer = async |_| {
            for number in 0..30 {
                let mut stored = of_now();
                storage.store_trace(stored.clone()).await.unwrap();
                assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
                let later = event(stored.start_time + TimeDelta::seconds(1));
                storage.store_event(stored.trace_id, later.clone()).await.unwrap();
                stored.events.push(later);
                assert_eq!(storage.get_events(stored.trace_id).await.unwrap(), stored.events);
                if number % 3 == 0 {
                    assert!(storage.delete_trace(stored.trace_id).await.unwrap());
                    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), None);
                }
            }
        };
        join_all((0..8).map(writer)).await;
        pair.until_read(&storage).await;
        assert_eq!(storage.stats().await.unwrap().traces, 8 * 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_replica_hides_no_writes() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let before = of_now();
    storage.store_trace(before.clone()).await.unwrap();
    pair.until_read(&storage).await;

    pair.replica.query("SELECT pg_wal_replay_pause()");
    until("it stands still", async || pair.replica.query("SELECT pg_get_wal_replay_pause_state()") == "paused").await;
    for _ in 0..20 {
        let stored = of_now();
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    }
    assert_eq!(storage.count_traces(TraceQuery::default()).await.unwrap(), 21);
    storage.health_check().await.unwrap();
    let warnings = storage.warnings();
    assert!(matches!(&warnings[..], [warning] if warning.contains("behind")), "{warnings:?}");

    pair.replica.query("SELECT pg_wal_replay_resume()");
    pair.until_read(&storage).await;
    assert_eq!(storage.count_traces(TraceQuery::default()).await.unwrap(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_use_the_primary_while_the_replica_is_unavailable() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let stored = of_now();
    storage.store_trace(stored.clone()).await.unwrap();
    pair.until_read(&storage).await;
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));

    pair.replica.stop();
    for _ in 0..10 {
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
    }
    storage.health_check().await.unwrap();
    assert!(storage.warnings()[0].contains("primary"), "{:?}", storage.warnings());

    pair.replica.launch();
    pair.until_read(&storage).await;
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
    assert!(Pair::is_read(&pair.replica));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_use_the_replica_while_the_primary_is_unavailable() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let stored = of_now();
    storage.store_trace(stored.clone()).await.unwrap();
    pair.until_read(&storage).await;
    // The replica was asked how far it has come.
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));

    pair.primary.stop();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
    assert!(storage.store_trace(of_now()).await.unwrap_err().is_retryable());
    assert!(storage.health_check().await.is_err());
    pair.primary.launch();
    let next = of_now();
    storage.store_trace(next.clone()).await.unwrap();
    assert_eq!(storage.get_trace(next.trace_id).await.unwrap(), Some(next));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_continues_from_the_primary_when_its_replica_dies() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events: Vec<TraceEvent> = (0..3_500).map(|number| event(start + TimeDelta::nanoseconds(number))).collect();
    let stored = FlowTrace { events, ..trace(start) };
    storage.store_trace(stored.clone()).await.unwrap();
    pair.until_read(&storage).await;
    let mut stream = storage.stream_events(stored.trace_id);
    let mut streamed = vec![stream.next().await.unwrap().unwrap()];
    assert!(pair.replica.query("SELECT query FROM pg_stat_activity").contains("FETCH"), "the replica is read");
    pair.replica.stop();
    while let Some(event) = stream.next().await {
        streamed.push(event.unwrap());
    }
    assert_eq!(streamed, stored.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_no_longer_read() {
    let pair = Pair::start();
    let storage = pair.storage().await;
    let stored = of_now();
    storage.store_trace(stored.clone()).await.unwrap();
    pair.until_read(&storage).await;
    pair.replica.query("SELECT pg_promote()");
    let next = of_now();
    storage.store_trace(next.clone()).await.unwrap();
    assert_eq!(storage.get_trace(next.trace_id).await.unwrap(), Some(next));
    let warnings = storage.warnings();
    assert!(matches!(&warnings[..], [warning] if warning.contains("not a replica")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_a_replica_is_refused_and_an_unavailable_one_is_not() {
    let pair = Pair::start();
    let other = Postgres::shared();
    let open = async |url: String| {
        PostgresStorage::with_config(PostgresConfig { read_replica_url: Some(url), ..pair.config() }).await
    };
    for (url, part) in [
        (other.url("postgres"), "another cluster"),
        (pair.replica.url("locked").replace("locked@", "locked:wr0ng@"), "password"),
        ("mysql://u:wr0ng@h/d".into(), "postgresql://"),
    ] {
        let error = open(url).await.err().expect("it must not open");
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(part) && message.contains("`read_replica_url`"), "{message}");
        assert!(!message.contains("wr0ng"), "{message}");
    }
    for url in [pair.primary.url("postgres"), "postgresql://postgres@127.0.0.1:1/postgres".into()] {
        let storage = open(url).await.unwrap();
        assert_eq!(storage.warnings().len(), 1);
        let stored = of_now();
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
        assert_eq!(storage.get_trace(TraceId::new()).await.unwrap(), None);
    }
}
