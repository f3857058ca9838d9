//! Traces in memory, bounded: for development, tests, and programs that look at their last executions only.
//!
//! One lock guards the whole. What is behind it is shared (`Arc`), so that a reader copies pointers while it holds the
//! lock and values after it let go; a query takes the headers first and the events of those only that may match. Traces are kept in the order of their last use; a write that goes over a bound
//! evicts the least recently used.

mod config;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{StorageBackend, StorageError, StorageStats};
use crate::model::{FlowId, FlowTrace, FlowVersion, Position, TraceEvent, TraceId, TracePage, TraceQuery, time};
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

    /// The headers that match, in order, after the place that the query's token names. The events are not looked at.
    fn candidates(&self, query: &TraceQuery, after: Option<Position>) -> Vec<Arc<FlowTrace>> {
        let key = |header: &FlowTrace| Position::of(header).sort_key(query.order);
        let mut headers = self.state().headers();
        headers.retain(|header| {
            after.is_none_or(|after| key(header) > after.sort_key(query.order)) && query.matches_header(header)
        });
        headers.sort_unstable_by_key(|header| key(header));
        headers
    }

    /// The trace of a candidate, if it is still there, unchanged, and its events match.
    fn matching(&self, query: &TraceQuery, candidate: &Arc<FlowTrace>) -> Option<Snapshot> {
        let snapshot = self.state().peek(candidate.trace_id)?;
        // A header that was replaced meanwhile is looked at anew; its place in the order must still be this one.
        let unchanged = Arc::ptr_eq(&snapshot.header, candidate)
            || (Position::of(&snapshot.header) == Position::of(candidate) && query.matches_header(&snapshot.header));
        (unchanged && query.matches_events(&snapshot.header, || snapshot.events())).then_some(snapshot)
    }
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
        let stored = events.into_iter().try_for_each(|(trace_id, event)| state.add_events(trace_id, vec![event]));
        // What was stored before a refusal counts too.
        state.evict();
        stored
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let candidates = self.candidates(&query, window.after);
        let mut rest = candidates.iter().filter_map(|header| self.matching(&query, header)).skip(window.offset);
        let traces: Vec<_> = rest.by_ref().take(window.limit).map(Snapshot::into_trace).collect();
        let next_page_token = match traces.last() {
            Some(last) if rest.next().is_some() => Some(Position::of(last).token()),
            _ => None,
        };
        Ok(TracePage { traces, next_page_token })
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let mut candidates = self.candidates(&query, None);
        if query.asks_for_events() {
            candidates.retain(|header| self.matching(&query, header).is_some());
        }
        Ok(candidates.len() as u64)
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let headers: Vec<_> = {
            let state = self.state();
            trace_ids.into_iter().map(|trace_id| state.header(trace_id)).collect()
        };
        Ok(headers.into_iter().map(|header| header.map(Arc::unwrap_or_clone)).collect())
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        let headers = self.state().headers();
        let of_flow = headers.iter().filter(|header| header.flow_id == flow_id).map(|header| &header.version);
        Ok(of_flow.collect::<BTreeSet<_>>().into_iter().cloned().collect())
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.state().remove(trace_id))
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        let mut state = self.state();
        let mut old = state.headers();
        old.retain(|header| time::nanos(header.start_time) < time::nanos(time));
        for header in &old {
            state.remove(header.trace_id);
        }
        Ok(old.len() as u64)
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        Ok(self.state().stats())
    }
}
