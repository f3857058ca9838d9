//! The suite over the backends that need no plugin and no server.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use reflow_tracing::storage::conformance::{Ability, Oracle, Subject, Suite};
use reflow_tracing::storage::{MemoryStorage, StorageBackend, StorageError, conformance};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId, TraceQuery};

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

/// With `delete_trace` the provided `delete_before` works too.
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

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.0.oracle().delete_trace(trace_id))
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
async fn the_provided_pages_pass_a_crowd_of_traces_with_one_start() {
    let storage = SixMethods::default();
    let traces = (0..TraceQuery::MAX_LIMIT + 50).map(|_| FlowTrace::default()).collect();
    storage.store_traces(traces).await.unwrap();
    let query = TraceQuery { limit: Some(TraceQuery::MAX_LIMIT), ..Default::default() };
    let first = storage.query_page(query.clone()).await.unwrap();
    let second = storage.query_page(TraceQuery { page_token: first.next_page_token, ..query }).await.unwrap();
    assert_eq!((first.traces.len(), second.traces.len()), (TraceQuery::MAX_LIMIT, 50));
    assert_eq!(second.next_page_token, None);
    assert!(first.traces.last().unwrap().trace_id < second.traces[0].trace_id);
}
