//! Traces in memory, bounded: for development, tests, and programs that look at their last executions only.
//!
//! One lock guards the whole. What is behind it is shared (`Arc`), so that a reader copies pointers while it holds the
//! lock and values after it let go. Traces are kept in the order of their last use; a write that goes over a bound
//! evicts the least recently used.

mod config;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{StorageBackend, StorageError, StorageStats};
use crate::model::{FlowTrace, Position, SortOrder, TraceEvent, TraceId, TracePage, TraceQuery};
pub use config::{EvictionPolicy, MemoryConfig};
use state::{Snapshot, State};

/// Keeps traces in memory. What it holds is gone when the process ends.
pub struct MemoryStorage {
    state: Mutex<State>,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStorage {
    /// An empty store with the default bounds.
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// An empty store with these bounds.
    pub fn with_config(config: MemoryConfig) -> Self {
        Self { state: Mutex::new(State::new(config)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that could panic, so a poisoned one is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The traces that match, in order, after the place that the query's token names.
    fn matching(&self, query: &TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        let after = query.window().map_err(StorageError::InvalidArgument)?.after;
        // Predicates on the header are cheap; only what passes them is completed with its events.
        let mut snapshots = self.state().snapshots();
        snapshots.sort_unstable_by_key(|snapshot| sort_key(query.order, Position::of(&snapshot.header)));
        Ok(snapshots
            .into_iter()
            .filter(|snapshot| {
                after.is_none_or(|after| {
                    sort_key(query.order, Position::of(&snapshot.header)) > sort_key(query.order, after)
                })
            })
            .map(Snapshot::into_trace)
            .filter(|trace| query.matches(trace))
            .collect())
    }
}

/// Ascends in the order that was asked for.
fn sort_key(order: SortOrder, position: Position) -> (i128, TraceId) {
    let start = i128::from(position.start_time);
    (if order == SortOrder::NewestFirst { -start } else { start }, position.trace_id)
}

#[async_trait]
impl StorageBackend for MemoryStorage {
    async fn store_trace(&self, mut trace: FlowTrace) -> Result<(), StorageError> {
        trace.validate()?;
        let events = std::mem::take(&mut trace.events);
        let trace_id = trace.trace_id;
        let mut state = self.state();
        state.add_events(trace_id, events)?;
        state.set_header(trace);
        state.evict();
        Ok(())
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let snapshot = self.state().get(trace_id);
        Ok(snapshot.map(Snapshot::into_trace))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        let events = self.state().events(trace_id);
        Ok(events.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let mut state = self.state();
        for (trace_id, event) in events {
            state.add_events(trace_id, vec![event])?;
        }
        state.evict();
        Ok(())
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let mut rest = self.matching(&query)?.into_iter().skip(window.offset);
        let traces: Vec<_> = rest.by_ref().take(window.limit).collect();
        let next_page_token = match traces.last() {
            Some(last) if rest.next().is_some() => Some(Position::of(last).token()),
            _ => None,
        };
        Ok(TracePage { traces, next_page_token })
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        Ok(self.matching(&TraceQuery { page_token: None, ..query })?.len() as u64)
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.state().remove(trace_id))
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        let mut state = self.state();
        let old: Vec<_> =
            state.snapshots().into_iter().map(|s| s.header).filter(|header| header.start_time < time).collect();
        for header in &old {
            state.remove(header.trace_id);
        }
        Ok(old.len() as u64)
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        Ok(self.state().stats())
    }
}
