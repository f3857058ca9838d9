//! What a server, and the way to it, can do to a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use reflow_tracing::storage::{
    ClickHouseConfig, ClickHouseStorage, EventMetricsQuery, StorageBackend, StorageBackendExt, StorageError,
};
use reflow_tracing::{EventId, FlowTrace, TraceEvent, TraceId, TraceQuery};

use super::proxy::Proxy;
use super::{config, event, query, storage, trace};
use crate::servers::ClickHouse;

/// What blocks runs beside the tasks.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Stores as a client that tries again as long as it is told that this can help.
async fn persist<F: Future<Output = Result<(), StorageError>>>(store: impl Fn() -> F) {
    let patience = Instant::now() + Duration::from_secs(120);
    while let Err(error) = store().await {
        assert!(error.is_retryable() && Instant::now() < patience, "{error:?}");
    }
}

/// Events one after another in time.
fn events(count: i64) -> Vec<TraceEvent> {
    (0..count).map(|number| event(DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + number))).collect()
}

fn of(trace_id: TraceId, events: &[TraceEvent]) -> Vec<(TraceId, TraceEvent)> {
    events.iter().map(|event| (trace_id, event.clone())).collect()
}

fn ids(events: &[TraceEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id).collect()
}

/// The events that the view has counted.
async fn counted(storage: &ClickHouseStorage) -> u64 {
    let minutes = storage.events_per_minute(&EventMetricsQuery::default()).await.unwrap();
    minutes.iter().map(|minute| minute.events).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing_and_stores_nothing_twice() {
    let server = Arc::new(ClickHouse::start());
    let storage = Arc::new(ClickHouseStorage::with_config(config(&server)).await.unwrap());
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let (trace_id, events) = (TraceId::new(), events(100));
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
            std::thread::sleep(Duration::from_millis(200));
            restarted.kill();
            restarted.launch();
        })
        .await;
    }
    for writer in join_all(writers).await {
        let (trace_id, events) = writer.unwrap();
        assert_eq!(ids(&storage.get_events(trace_id).await.unwrap()), ids(&events));
    }
    assert_eq!(storage.stats().await.unwrap().events, 800);
    storage.health_check().await.unwrap();
    storage.close().await.unwrap();
}

/// A store behind a proxy.
async fn behind_proxy() -> (Arc<ClickHouse>, ClickHouseConfig, Proxy, ClickHouseStorage) {
    let server = ClickHouse::shared();
    let proxy = Proxy::start(vec![server.address()]).await;
    let config = ClickHouseConfig { url: proxy.url.clone(), ..config(&server) };
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    (server, config, proxy, storage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_is_lost_is_sent_again_and_counted_once() {
    let (server, config, proxy, storage) = behind_proxy().await;
    let (trace_id, events) = (TraceId::new(), events(3_000));
    proxy.lose_answers(2);
    storage.store_events(of(trace_id, &events)).await.unwrap();
    assert_eq!(proxy.inserts(), 3);
    // The server knew the batch again: there is nothing to be merged.
    assert_eq!(query(&server, &config, "SELECT count() FROM {}.events"), "3000");
    assert_eq!(counted(&storage).await, 3_000);
    assert_eq!(ids(&storage.get_events(trace_id).await.unwrap()), ids(&events));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_batch_that_was_reported_as_failed_is_counted_once_after_a_retry() {
    let (_server, _config, proxy, storage) = behind_proxy().await;
    let (trace_id, events) = (TraceId::new(), events(100));
    proxy.lose_answers(4);
    let error = storage.store_events(of(trace_id, &events)).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    // In another batch, of which the server can't know anything.
    let late = event(DateTime::from_timestamp(1_700_000_100, 0).unwrap());
    storage.store_events(of(trace_id, &[&events[..], &[late]].concat())).await.unwrap();
    assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 101);
    assert_eq!(storage.stats().await.unwrap().events, 101);
    assert_eq!(counted(&storage).await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_cut_off_is_stored_completely_or_not_at_all() {
    let (server, config, proxy, storage) = behind_proxy().await;
    let (trace_id, events) = (TraceId::new(), events(5_000));
    proxy.cut_inserts(1);
    storage.store_events(of(trace_id, &events)).await.unwrap();
    assert_eq!(query(&server, &config, "SELECT count() FROM {}.events"), "5000");
    assert_eq!(counted(&storage).await, 5_000);

    let other = TraceId::new();
    proxy.cut_inserts(4);
    let error = storage.store_events(of(other, &events)).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(storage.get_events(other).await.unwrap(), []);
    storage.store_events(of(other, &events)).await.unwrap();
    assert_eq!(ids(&storage.get_events(other).await.unwrap()), ids(&events));
    assert_eq!(counted(&storage).await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_stored_again_with_its_events_is_counted_once() {
    let (_server, _config, storage) = storage().await;
    let stored = FlowTrace { events: events(50), ..trace(DateTime::default()) };
    for event in &stored.events[..25] {
        storage.store_event(stored.trace_id, event.clone()).await.unwrap();
    }
    storage.store_trace(stored.clone()).await.unwrap();
    storage.store_trace(stored.clone()).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    assert_eq!(counted(&storage).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_sent_again_to_a_restarted_process_are_counted_once() {
    let (_server, config, storage) = storage().await;
    let mut sent = FlowTrace { events: events(50), ..trace(DateTime::default()) };
    sent.events.extend((0..50).map(|_| event(Utc::now())));
    storage.store_trace(sent.clone()).await.unwrap();
    drop(storage);
    let next = ClickHouseStorage::with_config(config).await.unwrap();
    sent.events.push(event(Utc::now()));
    next.store_trace(sent.clone()).await.unwrap();
    assert_eq!(next.get_events(sent.trace_id).await.unwrap().len(), 101);
    assert_eq!(counted(&next).await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_slows_its_writers_and_loses_nothing() {
    let server = Arc::new(ClickHouse::start());
    let storage = Arc::new(ClickHouseStorage::with_config(config(&server)).await.unwrap());
    let trace_id = TraceId::new();
    server.pause();
    let events = events(2_000);
    let mut writers: Vec<_> = events
        .iter()
        .map(|event| {
            let (storage, event) = (storage.clone(), event.clone());
            tokio::spawn(async move { storage.store_event(trace_id, event).await })
        })
        .collect();
    let first = tokio::time::timeout(Duration::from_millis(300), futures::future::select_all(&mut writers)).await;
    assert!(first.is_err(), "a write was acknowledged by a server that stands still");
    server.resume();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(ids(&storage.get_events(trace_id).await.unwrap()), ids(&events));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_stores_every_accepted_write() {
    let (_server, config, proxy, storage) = behind_proxy().await;
    proxy.delay_inserts(Duration::from_millis(300));
    let storage = Arc::new(storage);
    let (trace_id, events) = (TraceId::new(), events(100));
    let writers: Vec<_> = events
        .iter()
        .map(|event| {
            let (storage, event) = (storage.clone(), event.clone());
            tokio::spawn(async move { storage.store_event(trace_id, event).await })
        })
        .collect();
    while proxy.inserts() == 0 {
        tokio::task::yield_now().await;
    }
    storage.close().await.unwrap();
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += usize::from(writer.await.unwrap().is_ok());
    }
    assert!(acknowledged > 0);
    let again = ClickHouseStorage::with_config(config).await.unwrap();
    assert!(again.get_events(trace_id).await.unwrap().len() >= acknowledged);
    let error = storage.store_event(trace_id, TraceEvent::default()).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_after_a_restart_gets_a_new_connection() {
    let server = Arc::new(ClickHouse::start());
    let storage = ClickHouseStorage::with_config(config(&server)).await.unwrap();
    let stored = trace(DateTime::default());
    storage.store_trace(stored.clone()).await.unwrap();
    storage.flush().await.unwrap();
    let restarted = server.clone();
    beside(move || restarted.kill()).await;
    let error = storage.get_trace(stored.trace_id).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("is the server running"), "{error:?}");
    let error = storage.health_check().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let restarted = server.clone();
    beside(move || restarted.launch()).await;
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn a_statement_over_the_memory_limit_is_an_error_that_names_the_setting() {
    let (_server, config, storage) = storage().await;
    let events = events(100_000);
    // Of one time, so that they have to be put into their order all at once.
    let mut header = trace(DateTime::default());
    header.metadata.hostname = "host".repeat(2_500);
    let headers = (0..3_000).map(|_| FlowTrace { trace_id: TraceId::new(), events: Vec::new(), ..header.clone() });
    storage.store_traces(headers.collect()).await.unwrap();
    let poor = ClickHouseConfig { max_memory_usage: 6_000_000, ..config };
    let poor = ClickHouseStorage::with_config(poor).await.unwrap();
    let other = TraceId::new();
    let all = TraceQuery { limit: Some(10_000), ..TraceQuery::default() };
    for error in
        [poor.query_traces(all).await.map(drop).unwrap_err(), poor.store_events(of(other, &events)).await.unwrap_err()]
    {
        assert!(matches!(error, StorageError::Exhausted(_)) && !error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("`max_memory_usage`"), "{error}");
    }
    // What failed is as good as new for someone who may use more.
    storage.store_events(of(other, &events)).await.unwrap();
    assert_eq!(storage.get_events(other).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_statement_over_the_time_limit_is_an_error_that_names_the_setting() {
    let (_server, config, storage) = storage().await;
    let stored = FlowTrace { events: events(50_000), ..trace(DateTime::default()) };
    storage.store_trace(stored.clone()).await.unwrap();
    let hasty = ClickHouseConfig { max_execution_time_ms: 1, ..config };
    // It may be too little for opening, too.
    let error = match ClickHouseStorage::with_config(hasty).await {
        Ok(hasty) => hasty.stats().await.map(drop).unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, StorageError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("`max_execution_time_ms`"), "{error}");
}

#[tokio::test]
async fn a_refused_login_is_explained_without_the_password() {
    let server = ClickHouse::shared();
    let good = config(&server);
    let as_user = |username: &str, password: Option<&str>| ClickHouseConfig {
        username: Some(username.into()),
        password: password.map(Into::into),
        ..good.clone()
    };
    for config in [as_user("locked", Some("wr0ng")), as_user("locked", None), as_user("nobody", Some("wr0ng"))] {
        let error = ClickHouseStorage::with_config(config).await.err().expect("it must not open");
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains("`password`") && !error.to_string().contains("wr0ng"), "{error}");
    }
    let storage = ClickHouseStorage::with_config(as_user("locked", Some("secret"))).await.unwrap();
    storage.store_trace(trace(DateTime::default())).await.unwrap();

    let nowhere = ClickHouseConfig { url: "http://127.0.0.1:1".into(), ..as_user("locked", Some("wr0ng")) };
    let error = ClickHouseStorage::with_config(nowhere).await.err().expect("it must not open");
    assert!(error.is_retryable() && error.to_string().contains("is the server running"), "{error}");
    assert!(!error.to_string().contains("wr0ng"), "{error}");
}

#[tokio::test]
async fn a_read_only_user_can_read_and_gets_an_error_when_writing() {
    let (_server, config, storage) = storage().await;
    let stored = trace(DateTime::default());
    storage.store_trace(stored.clone()).await.unwrap();
    let as_user = |username: &str| ClickHouseConfig { username: Some(username.into()), ..config.clone() };
    let reader = ClickHouseStorage::with_config(as_user("reader")).await.unwrap();
    assert_eq!(reader.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));
    assert_eq!(reader.query_traces(TraceQuery::default()).await.unwrap(), std::slice::from_ref(&stored));
    for error in [
        reader.store_trace(stored.clone()).await.unwrap_err(),
        reader.delete_trace(stored.trace_id).await.unwrap_err(),
        reader.health_check().await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Configuration(_)) && error.to_string().contains("readonly"), "{error:?}");
    }
    let error = ClickHouseStorage::with_config(as_user("strict")).await.err().expect("it must not open");
    assert!(matches!(error, StorageError::Configuration(_)) && error.to_string().contains("readonly"), "{error:?}");
}

#[tokio::test]
async fn one_bad_write_does_not_fail_the_others_in_its_batch() {
    let (server, config, storage) = storage().await;
    query(&server, &config, "ALTER TABLE {}.events ADD CONSTRAINT no_bad CHECK actor_id != 'bad'");
    let trace_id = TraceId::new();
    let events = events(20);
    let writes = events.iter().enumerate().map(|(number, event)| {
        let actor_id = if number == 7 { "bad" } else { "good" };
        storage.store_event(trace_id, TraceEvent { actor_id: actor_id.into(), ..event.clone() })
    });
    for (number, outcome) in join_all(writes).await.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), number == 7, "{number}: {outcome:?}");
    }
    assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 19);
    assert_eq!(counted(&storage).await, 19);
}

#[tokio::test]
async fn rows_of_another_program_are_corrupt() {
    let (server, config, storage) = storage().await;
    let stored = trace(DateTime::default());
    storage.store_trace(stored.clone()).await.unwrap();
    query(&server, &config, "ALTER TABLE {}.events UPDATE event_type = 'Sneezed' WHERE 1 SETTINGS mutations_sync = 2");
    let error = storage.get_trace(stored.trace_id).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt(_)) && error.to_string().contains("Sneezed"), "{error:?}");
}

#[tokio::test]
async fn a_batch_may_span_more_days_than_one_statement_allows() {
    let (_server, _config, storage) = storage().await;
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events = (0..250).map(|day| event(start + TimeDelta::days(day))).collect();
    let stored = FlowTrace { events, ..trace(start) };
    storage.store_trace(stored.clone()).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));
    assert_eq!(counted(&storage).await, 250);
    assert!(storage.delete_trace(stored.trace_id).await.unwrap());
    assert_eq!(storage.stats().await.unwrap().events, 0);
}
