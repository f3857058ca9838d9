//! The suite over the backends that need no plugin and no server.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use reflow_tracing::storage::{Deletion, MemoryStorage, StorageBackend, StorageError, paging};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_conformance as conformance;
use reflow_tracing_conformance::{Ability, Oracle, Subject, Suite};

async fn memory() -> Result<Subject, StorageError> {
    Ok(Subject::new(MemoryStorage::new()))
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    conformance::run(memory).await.assert_passed();
}

#[test]
fn memory_answers_like_the_oracle() {
    conformance::check_generated(256, memory).unwrap();
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> Result<Subject, StorageError> {
    let folder = tempfile::tempdir().unwrap();
    let storage = reflow_tracing::storage::SqliteStorage::new(folder.path().join("traces.db")).await?;
    Ok(Subject::new(storage).keeping(folder))
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    conformance::run(sqlite).await.assert_passed();
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_answers_like_the_oracle() {
    conformance::check_generated(64, sqlite).unwrap();
}

/// Under every layer that can be around a backend without a spool.
async fn layered() -> Result<Subject, StorageError> {
    use reflow_tracing::storage::layers::{metrics::Metered, retry::Retrying, timeout::TimeLimited};

    let limited = TimeLimited::around(Metered::around(SevenMethods::default()), std::time::Duration::from_secs(60));
    Ok(Subject::new(Retrying::around(limited, &Default::default())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_under_layers_keeps_the_contract() {
    conformance::run(layered).await.assert_passed();
}

/// A backend that turns every third write away, so that many are spooled first.
#[cfg(feature = "spool")]
#[derive(Default)]
struct Flaky {
    storage: SevenMethods,
    writes: std::sync::atomic::AtomicUsize,
}

#[cfg(feature = "spool")]
impl Flaky {
    fn answer(&self) -> Result<(), StorageError> {
        let number = self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match number.is_multiple_of(3) {
            true => Err(StorageError::Unavailable("every third time".into())),
            false => Ok(()),
        }
    }
}

#[cfg(feature = "spool")]
#[async_trait]
impl StorageBackend for Flaky {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.answer()?;
        self.storage.store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.storage.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.storage.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.storage.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.storage.health_check().await
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        self.answer()?;
        self.storage.store_traces(traces).await
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        self.answer()?;
        self.storage.store_events(events).await
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        self.storage.delete(deletion).await
    }
}

#[cfg(feature = "spool")]
async fn spooled() -> Result<Subject, StorageError> {
    use reflow_tracing::storage::layers::{metrics::Metered, spool, timeout::TimeLimited};

    let folder = tempfile::tempdir().unwrap();
    let limited = TimeLimited::around(Metered::around(Flaky::default()), std::time::Duration::from_secs(60));
    let spool = spool::Spool::open(limited, "flaky", &spool::SpoolConfig::new(folder.path())).await?;
    Ok(Subject::new(spool).keeping(folder))
}

#[cfg(feature = "spool")]
#[tokio::test(flavor = "multi_thread")]
async fn a_repeatedly_unavailable_backend_behind_a_spool_keeps_the_contract() {
    conformance::run(spooled).await.assert_passed();
}

#[cfg(feature = "spool")]
#[test]
fn a_repeatedly_unavailable_backend_behind_a_spool_answers_like_the_oracle() {
    conformance::check_generated(64, spooled).unwrap();
}

/// The least that a backend can be: what the contract provides does the rest.
#[derive(Default)]
struct SixMethods(Mutex<Oracle>);

impl SixMethods {
    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl StorageBackend for SixMethods {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        trace.validate()?;
        self.oracle().store_trace(trace);
        Ok(())
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        Ok(self.oracle().trace(trace_id))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        Ok(self.oracle().query(&query))
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        event.validate()?;
        self.oracle().store_event(trace_id, event);
        Ok(())
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        Ok(self.oracle().events(trace_id))
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

async fn six_methods() -> Result<Subject, StorageError> {
    Ok(Subject::new(SixMethods::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn six_methods_are_enough_for_the_contract() {
    Suite::new().without(Ability::Deletion).run(six_methods).await.assert_passed();
}

#[test]
fn six_methods_answer_like_the_oracle() {
    Suite::new().without(Ability::Deletion).check_generated(128, six_methods).unwrap();
}

/// With `delete` by ids, the provided deletion by time works too.
#[derive(Default)]
struct SevenMethods(SixMethods);

#[async_trait]
impl StorageBackend for SevenMethods {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.0.store_trace(trace).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.0.get_trace(trace_id).await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        self.0.query_traces(query).await
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.0.store_event(trace_id, event).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.0.get_events(trace_id).await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.0.health_check().await
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        match deletion {
            Deletion::Traces(ids) => {
                let mut oracle = self.0.oracle();
                Ok(ids.into_iter().map(|trace_id| u64::from(oracle.delete_trace(trace_id))).sum())
            }
            Deletion::StartedBefore(time) => paging::delete_started_before(self, time).await,
        }
    }
}

async fn seven_methods() -> Result<Subject, StorageError> {
    Ok(Subject::new(SevenMethods::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_deletes_a_trace_deletes_by_time_too() {
    conformance::run(seven_methods).await.assert_passed();
}

#[tokio::test]
async fn the_provided_paging_passes_many_traces_with_the_same_start() {
    let storage = SixMethods::default();
    let traces = (0..TraceQuery::MAX_LIMIT + 50).map(|_| FlowTrace::default()).collect();
    storage.store_traces(traces).await.unwrap();
    let query = TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..Default::default() };
    let first = storage.query_page(query.clone().into()).await.unwrap();
    let second = storage.query_page((TraceQuery { page_token: first.next_page_token, ..query }).into()).await.unwrap();
    assert_eq!((first.traces.len(), second.traces.len()), (TraceQuery::MAX_LIMIT, 50));
    assert_eq!(second.next_page_token, None);
    assert!(first.traces.last().unwrap().trace_id < second.traces[0].trace_id);
}
