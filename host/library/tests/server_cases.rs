//! Test cases for every backend with a database server, and what they need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{EventId, FlowTrace, TraceEvent, TraceId, TraceQuery};

/// An event of this time.
pub fn event(time: DateTime<Utc>) -> TraceEvent {
    TraceEvent { timestamp: time, actor_id: "actor".into(), ..TraceEvent::default() }
}

/// A trace that starts at this time, with one event of that time.
pub fn trace(start_time: DateTime<Utc>) -> FlowTrace {
    FlowTrace { trace_id: TraceId::new(), start_time, events: vec![event(start_time)], ..FlowTrace::default() }
}

/// Events with ascending times.
pub fn events(count: i64) -> Vec<TraceEvent> {
    (0..count).map(|number| event(DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + number))).collect()
}

pub fn ids(events: &[TraceEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.event_id).collect()
}

/// Runs blocking work on another thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Retries like a client, as long as the error says that this can help.
pub async fn persist<F: Future<Output = Result<(), StorageError>>>(store: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(120);
    while let Err(error) = store().await {
        assert!(error.is_retryable() && Instant::now() < end, "{error:?}");
    }
}

/// The message of a store that must not open because of its configuration.
#[track_caller]
pub fn refusal<S>(opened: Result<S, StorageError>) -> String {
    match opened {
        Err(StorageError::Configuration(message)) => message,
        Err(other) => panic!("expected a configuration error, found {other:?}"),
        Ok(_) => panic!("it must not open"),
    }
}

/// The SQL examples of a page, in its order.
pub fn examples(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("\n```")).map(|(sql, _)| sql)
}

/// Ten hosts that start at the same time on an empty database create one store.
pub async fn ten_hosts_start_at_once<S: StorageBackend, F: Future<Output = Result<S, StorageError>>>(
    open: impl Fn() -> F,
) {
    let hosts: Vec<_> = join_all((0..10).map(|_| open())).await.into_iter().map(Result::unwrap).collect();
    let stored = trace(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    for written in join_all(hosts.iter().map(|host| host.store_trace(stored.clone()))).await {
        written.unwrap();
    }
    for host in &hosts {
        assert_eq!(host.get_trace(stored.trace_id).await.unwrap().as_ref(), Some(&stored));
    }
    assert_eq!(hosts[0].stats().await.unwrap().events, 1);
}

/// Without the tables, every call names the command that prints how to create them.
pub async fn missing_tables_are_named(storage: &impl StorageBackend) {
    for error in [
        storage.health_check().await.unwrap_err(),
        storage.store_trace(trace(Utc::now())).await.unwrap_err(),
        storage.query_traces(TraceQuery::default()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains("reflow-tracing schema"), "{error}");
    }
}

/// Eight writers store `count` events each, while `restart` runs twice.
pub async fn restarts_under_load_lose_nothing<S: StorageBackend + 'static>(
    storage: &Arc<S>,
    count: i64,
    restart: impl Fn() + Clone + Send + 'static,
) {
    let writers = (0..8).map(|_| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let (trace_id, events) = (TraceId::new(), events(count));
            for event in &events {
                persist(|| storage.store_event(trace_id, event.clone())).await;
            }
            (trace_id, events)
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..2 {
        blocking(restart.clone()).await;
    }
    for writer in join_all(writers).await {
        let (trace_id, events) = writer.unwrap();
        assert_eq!(ids(&storage.get_events(trace_id).await.unwrap()), ids(&events));
    }
    storage.health_check().await.unwrap();
}

/// A value of another program: an event with the type `Sneezed`.
pub async fn an_unknown_event_type_is_corrupt(storage: &impl StorageBackend, trace_id: TraceId) {
    let error = storage.get_trace(trace_id).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt(_)) && error.to_string().contains("Sneezed"), "{error:?}");
}

/// Of concurrent writes, only the one with number 7 fails.
pub async fn only_the_eighth_fails(writes: impl Iterator<Item = impl Future<Output = Result<(), StorageError>>>) {
    for (number, outcome) in join_all(writes).await.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), number == 7, "{number}: {outcome:?}");
    }
}
