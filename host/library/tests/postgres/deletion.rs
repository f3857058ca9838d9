//! Deletions beside those who write the same traces all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt};
use reflow_tracing::{EventId, TraceId, TraceQuery};
use tokio::task::JoinHandle;

use super::{event, query, storage};

/// Enough for groups that are sent with COPY.
const WRITERS: usize = 64;

/// Writers of a trace each, which store one event after another until they are stopped.
struct Writers {
    traces: Vec<TraceId>,
    stop: Arc<AtomicBool>,
    /// The traces are deleted no more: what is stored from now on stays.
    stays: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<EventId>>>,
}

impl Writers {
    fn start(storage: &Arc<PostgresStorage>) -> Self {
        let traces: Vec<_> = (0..WRITERS).map(|_| TraceId::new()).collect();
        let (stop, stays) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let tasks = traces.iter().map(|trace_id| {
            let (storage, trace_id) = (storage.clone(), *trace_id);
            let (stop, stays) = (stop.clone(), stays.clone());
            tokio::spawn(async move {
                let mut stayed = Vec::new();
                let mut time = 1_700_000_000_000_000_000;
                while !stop.load(Ordering::SeqCst) {
                    time += 1;
                    let event = event(DateTime::from_timestamp_nanos(time));
                    let (event_id, stays) = (event.event_id, stays.load(Ordering::SeqCst));
                    storage.store_event(trace_id, event).await.unwrap();
                    stayed.extend(stays.then_some(event_id));
                }
                stayed
            })
        });
        let tasks = tasks.collect();
        Self { traces, stop, stays, tasks }
    }

    /// Stops them, and sees that everything is there that was stored after the last deletion.
    async fn end(self, storage: &PostgresStorage) {
        self.stays.store(true, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        self.stop.store(true, Ordering::SeqCst);
        for (trace_id, task) in self.traces.into_iter().zip(self.tasks) {
            let stayed = task.await.unwrap();
            let stored: Vec<_> =
                storage.get_events(trace_id).await.unwrap().into_iter().map(|event| event.event_id).collect();
            assert!(!stayed.is_empty() && stored.ends_with(&stayed), "{} of {}", stored.len(), stayed.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_by_another_host_during_writes_leaves_no_events() {
    let (server, config, storage) = storage().await;
    let other = PostgresStorage::with_config(config.clone()).await.unwrap();
    let storage = Arc::new(storage);
    let writers = Writers::start(&storage);
    let mut deleted = 0;
    while deleted < 10 * WRITERS as u64 {
        deleted += other.delete_traces(writers.traces.clone()).await.unwrap();
        deleted += u64::from(other.delete_trace(writers.traces[0]).await.unwrap());
    }
    writers.end(&storage).await;
    let orphans = "SELECT count(*) FROM event WHERE NOT EXISTS (SELECT FROM trace WHERE seq = event.trace)";
    assert_eq!(query(&server, &config, orphans), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_writers_share_the_only_connection() {
    let (_server, config, _) = storage().await;
    let config = PostgresConfig { max_connections: 1, ..config };
    let storage = Arc::new(PostgresStorage::with_config(config).await.unwrap());
    let writers = Writers::start(&storage);
    for _ in 0..5 {
        storage.query_traces(TraceQuery::default()).await.unwrap();
        storage.delete_traces(writers.traces.clone()).await.unwrap();
    }
    writers.end(&storage).await;
}
