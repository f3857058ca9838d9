//! What a server can do to its clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use futures::StreamExt;
use futures::future::join_all;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageError};
use reflow_tracing::{EventId, FlowTrace, TraceEvent, TraceId};

use super::{config, event, query, storage, trace};
use crate::servers::Postgres;

/// A setting of the sessions.
fn with_option(config: &PostgresConfig, name: &str, value: &str) -> PostgresConfig {
    PostgresConfig { connection_url: format!("{}&options[{name}]={value}", config.connection_url), ..config.clone() }
}

/// What blocks runs beside the tasks.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Stores as a client that tries again as long as it is told that this can help.
async fn persist<F: Future<Output = Result<(), StorageError>>>(store: impl Fn() -> F) -> u32 {
    let patience = Instant::now() + Duration::from_secs(120);
    let mut failures = 0;
    loop {
        match store().await {
            Ok(()) => return failures,
            Err(error) => {
                assert!(error.is_retryable() && Instant::now() < patience, "{error:?}");
                failures += 1;
            }
        }
    }
}

/// Events one after another in time.
fn events(count: i64) -> Vec<TraceEvent> {
    (0..count).map(|number| event(DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + number))).collect()
}

fn ids(events: &[TraceEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_under_load_loses_nothing_and_stores_nothing_twice() {
    let server = Arc::new(Postgres::start());
    // The test's servers acknowledge before they write; this is about one that keeps its word.
    let config = with_option(&config(&server), "synchronous_commit", "on");
    let storage = Arc::new(PostgresStorage::with_config(config).await.unwrap());
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let (trace_id, events) = (TraceId::new(), events(300));
                for event in &events {
                    persist(|| storage.store_event(trace_id, event.clone())).await;
                }
                (trace_id, events)
            })
        })
        .collect();
    for _ in 0..2 {
        let restarted = server.clone();
        beside(move || {
            restarted.stop();
            restarted.launch();
        })
        .await;
    }
    for writer in join_all(writers).await {
        let (trace_id, events) = writer.unwrap();
        assert_eq!(ids(&storage.get_events(trace_id).await.unwrap()), ids(&events));
    }
    storage.health_check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_amid_batches_lose_nothing_and_store_nothing_twice() {
    let server = Arc::new(Postgres::start());
    let storage = Arc::new(PostgresStorage::with_config(config(&server)).await.unwrap());
    let writers = (0..4).map(|_| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for _ in 0..10 {
                let trace = FlowTrace { events: events(500), ..trace(DateTime::default()) };
                persist(|| storage.store_trace(trace.clone())).await;
                stored.push(trace);
            }
            stored
        })
    });
    let writers = join_all(writers.collect::<Vec<_>>());
    let cutter = async {
        let mut cut = 0;
        for _ in 0..10 {
            let server = server.clone();
            let ended = beside(move || {
                server.query(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE application_name = 'reflow-tracing'",
                )
            });
            cut += ended.await.parse::<u32>().unwrap();
        }
        cut
    };
    let (stored, cut) = tokio::join!(writers, cutter);
    assert!(cut > 0);
    for trace in stored.into_iter().flat_map(Result::unwrap) {
        let found = storage.get_trace(trace.trace_id).await.unwrap().expect("it was acknowledged");
        assert_eq!(ids(&found.events), ids(&trace.events));
    }
}

#[tokio::test]
async fn a_read_after_a_restart_gets_a_new_connection() {
    let server = Arc::new(Postgres::start());
    let storage = PostgresStorage::with_config(config(&server)).await.unwrap();
    let stored = trace(DateTime::default());
    storage.store_trace(stored.clone()).await.unwrap();
    storage.flush().await.unwrap();
    let restarted = server.clone();
    beside(move || {
        restarted.stop();
        restarted.launch();
    })
    .await;
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn an_exhausted_pool_is_an_error_that_names_the_setting() {
    let server = Postgres::shared();
    let config = PostgresConfig { max_connections: 1, connection_timeout_ms: 300, ..config(&server) };
    let storage = PostgresStorage::with_config(config).await.unwrap();
    let stored = FlowTrace { events: events(3), ..trace(DateTime::default()) };
    storage.store_trace(stored.clone()).await.unwrap();
    let mut stream = storage.stream_events(stored.trace_id);
    stream.next().await.unwrap().unwrap();
    for error in [
        storage.get_trace(stored.trace_id).await.unwrap_err(),
        storage.store_event(stored.trace_id, TraceEvent::default()).await.unwrap_err(),
    ] {
        assert!(error.is_retryable() && error.to_string().contains("`max_connections`"), "{error}");
    }
    drop(stream);
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_unless_the_sessions_have_a_limit() {
    let (server, config, patient) = storage().await;
    let mut hasty = Vec::new();
    for limit in ["lock_timeout", "statement_timeout"] {
        hasty.push(PostgresStorage::with_config(with_option(&config, limit, "200ms")).await.unwrap());
    }
    query(&server, &config, "CREATE TABLE go_on (now boolean)");
    let (held, of) = (server.clone(), config.clone());
    let holder = tokio::task::spawn_blocking(move || {
        let hold = "BEGIN; LOCK TABLE event; DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT FROM go_on); \
                    PERFORM pg_sleep(0.01); END LOOP; END $$; COMMIT";
        query(&held, &of, hold)
    });
    let locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                 AND relation = 'event'::regclass";
    while query(&server, &config, locks) == "0" {
        tokio::task::yield_now().await;
    }

    let stored = trace(DateTime::default());
    for storage in hasty {
        let error = storage.store_trace(stored.clone()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)) && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("timeout"), "{error}");
    }
    let release = beside({
        let (server, config) = (server.clone(), config.clone());
        move || query(&server, &config, "INSERT INTO go_on VALUES (true)")
    });
    let (written, _) = tokio::join!(patient.store_trace(stored.clone()), release);
    written.unwrap();
    holder.await.unwrap();
    assert_eq!(patient.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn a_refused_login_is_explained_without_the_password() {
    let server = Postgres::shared();
    let refused = async |url: String| {
        let config = PostgresConfig { connection_url: url, ..config(&server) };
        PostgresStorage::with_config(config).await.err().expect("it must not open")
    };
    let url = server.url("postgres");
    for (url, part) in [
        (server.url("locked").replace("locked@", "locked:wr0ng@"), "password authentication failed"),
        (url.replace("/postgres?", "/nowhere?"), "createdb"),
        (url.replace("postgres@", "nobody:wr0ng@"), "nobody"),
    ] {
        let error = refused(url).await;
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains(part) && !error.to_string().contains("wr0ng"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    for url in [
        format!("postgresql://u:wr0ng@localhost/postgres?host={}", folder.path().display()),
        "postgresql://u:wr0ng@127.0.0.1:1/postgres".into(),
    ] {
        let error = refused(url).await;
        assert!(error.is_retryable() && error.to_string().contains("is the server running"), "{error}");
        assert!(!error.to_string().contains("wr0ng"), "{error}");
    }
}

/// Has the server raise an error when a trace is stored.
fn raise(server: &Postgres, config: &PostgresConfig, code: &str, condition: &str) {
    let function = format!(
        "CREATE SEQUENCE tries; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF {condition} THEN RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '{code}'; END IF; RETURN new; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON trace FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    // The function is looked up when it runs, with the search path of the host's session.
    query(server, config, &function);
}

#[tokio::test]
async fn a_full_disk_is_distinguished_from_other_errors() {
    let (server, config, storage) = storage().await;
    raise(&server, &config, "53100", "true");
    let error = storage.store_trace(trace(DateTime::default())).await.unwrap_err();
    assert!(matches!(&error, StorageError::Exhausted(_)) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_conflict_with_another_session_is_retried() {
    for code in ["40001", "40P01"] {
        let (server, config, storage) = storage().await;
        raise(&server, &config, code, "nextval('tries') < 4");
        let stored = trace(DateTime::default());
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
        // A sequence goes on although what used it was undone.
        assert!(query(&server, &config, "SELECT last_value FROM tries").parse::<i64>().unwrap() >= 4);
    }
}

#[tokio::test]
async fn one_bad_write_does_not_fail_the_others_in_its_group() {
    let (server, config, storage) = storage().await;
    raise(&server, &config, "P0001", "new.flow_id = 'bad'");
    let traces: Vec<_> = (0..20)
        .map(|number| FlowTrace {
            flow_id: reflow_tracing::FlowId::new(if number == 7 { "bad" } else { "good" }),
            ..trace(DateTime::default())
        })
        .collect();
    let outcomes = join_all(traces.iter().map(|trace| storage.store_trace(trace.clone()))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), number == 7, "{number}: {outcome:?}");
    }
}

#[tokio::test]
async fn rows_of_another_program_are_corrupt() {
    let (server, config, storage) = storage().await;
    let stored = trace(DateTime::default());
    storage.store_trace(stored.clone()).await.unwrap();
    query(&server, &config, "UPDATE event SET kind = 'Sneezed'");
    let error = storage.get_trace(stored.trace_id).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt(_)) && error.to_string().contains("Sneezed"), "{error:?}");
}
