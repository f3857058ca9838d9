use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TracePage, TraceQuery, Window, time};
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::{
    Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageExtras, StorageStats, async_trait, metered,
};

use crate::batch;
use crate::config::MemoryConfig;
use crate::entry::{Entry, Header, Snapshot};
use crate::events::SharedEvents;
use crate::search::Plan;
use crate::state::State;

/// Traces examined or deleted before the lock is released for others: some tens of microseconds.
const STEP: usize = 256;

/// Stores traces in memory. They are lost when the process ends.
pub struct MemoryStorage(pub(super) Metered<MemoryBackend>);

/// The backend without its measurements.
pub(super) struct MemoryBackend {
    state: RwLock<State>,
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
        Self(Metered::around(MemoryBackend { state: RwLock::new(State::new(config)) }))
    }
}

metered!(MemoryStorage);

impl MemoryBackend {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // Nothing panics in the middle of a change, so a poisoned state is consistent.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then evicts traces until the bounds hold.
    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        state.evict();
        let garbage = state.take_garbage();
        drop(state);
        drop(garbage);
        result
    }

    /// Stores a valid trace.
    fn put(&self, mut trace: FlowTrace) -> Result<(), StorageError> {
        let events = std::mem::take(&mut trace.events);
        self.write(|state| {
            state.check_room(trace.trace_id, events.iter())?;
            state.add_events(trace.trace_id, events.into_iter());
            state.set_header(trace);
            Ok(())
        })
    }

    /// Applies `pick` to the matching traces, in order, within the window.
    fn search<T>(&self, query: &TraceQuery, window: Window, pick: impl Fn(&Header, &Entry) -> T) -> Vec<T> {
        let plan = Plan::new(&self.read(), query);
        let Window { limit, mut offset, mut after } = window;
        let mut found = Vec::new();
        loop {
            let state = self.read();
            for _ in 0..STEP {
                if found.len() == limit {
                    return found;
                }
                let Some(at) = plan.next(&state, after) else { return found };
                after = Some(at);
                let Some((header, entry)) =
                    state.look_at(at.trace_id).filter(|(header, entry)| plan.matches(header, entry))
                else {
                    continue;
                };
                if offset > 0 {
                    offset -= 1;
                } else {
                    found.push(pick(header, entry));
                }
            }
        }
    }

    /// What `pick` makes of the traces of a page, and the token of the next page.
    fn find<T>(
        &self,
        query: &TraceQuery,
        pick: impl Fn(&Header, &Entry) -> Option<T>,
    ) -> Result<(Vec<T>, Option<String>), StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        // One trace more than the page holds shows whether another page follows.
        let one_more = Window { limit: if window.limit == 0 { 0 } else { window.limit + 1 }, ..window };
        let mut found = self.search(query, one_more, |header, entry| (header.position(), pick(header, entry)));
        let more = found.len() > window.limit;
        found.truncate(window.limit);
        let token = found.last().filter(|_| more).map(|(last, _)| last.token());
        Ok((found.into_iter().filter_map(|(_, picked)| picked).collect(), token))
    }
}

/// All matching traces.
const UNBOUNDED: Window = Window { limit: usize::MAX, offset: 0, after: None };

#[async_trait]
impl StorageBackend for MemoryBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        trace.validate()?;
        self.put(trace)
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let snapshot = self.read().traces.get_used(trace_id).and_then(Entry::snapshot);
        Ok(snapshot.map(|snapshot| snapshot.to_trace()))
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        let events = self.read().traces.get(trace_id).map(|entry| entry.events.share());
        Ok(events.as_ref().map(SharedEvents::to_sorted).unwrap_or_default())
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        traces.into_iter().try_for_each(|trace| self.put(trace))
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let events = batch::by_trace(events);
        let runs: Vec<_> = batch::runs(&events).map(|run| (run[0].0, run.len())).collect();
        // Events stored before a rejected one stay.
        self.write(|state| {
            let mut events = events.into_iter();
            for (trace_id, count) in runs {
                state.check_room(trace_id, events.as_slice()[..count].iter().map(|(_, event)| event))?;
                state.add_events(trace_id, events.by_ref().take(count).map(|(_, event)| event));
            }
            Ok(())
        })
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let total = total.then(|| self.search(&query, UNBOUNDED, |_, _| ()).len() as u64);
        let (traces, next_page_token) = match detail {
            Detail::Headers => {
                let (found, token) = self.find(&query, |header, _| Some(header.trace.clone()))?;
                (found.iter().map(|header| FlowTrace::clone(header)).collect(), token)
            }
            Detail::Traces => {
                let (found, token) = self.find(&query, |_, entry| entry.snapshot())?;
                (found.iter().map(Snapshot::to_trace).collect(), token)
            }
        };
        Ok(TracePage { traces, next_page_token, total })
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let events = self.read().traces.get(trace_id).map(|entry| entry.events.share());
        stream::iter(events.into_iter().flat_map(SharedEvents::into_sorted).map(Ok)).boxed()
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let headers: Vec<_> = {
            let state = self.read();
            let header = |trace_id| Some(state.traces.get_used(trace_id)?.header.as_ref()?.trace.clone());
            trace_ids.into_iter().map(header).collect()
        };
        Ok(headers.iter().map(|header| header.as_deref().cloned()).collect())
    }

    async fn flow_versions(&self, flow_id: FlowId) -> Result<Vec<FlowVersion>, StorageError> {
        let of_flow = TraceQuery { flow_id: Some(flow_id), ..TraceQuery::default() };
        let headers = self.search(&of_flow, UNBOUNDED, |header, _| header.trace.clone());
        Ok(headers.iter().map(|header| &header.version).collect::<BTreeSet<_>>().into_iter().cloned().collect())
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        let mut deleted = 0;
        match deletion {
            Deletion::Traces(trace_ids) => {
                for step in trace_ids.chunks(STEP) {
                    deleted += self.write(|state| step.iter().filter(|trace_id| state.remove(**trace_id)).count());
                }
            }
            Deletion::StartedBefore(time) => {
                let time = time::nanos(time);
                loop {
                    let deleted_now = self.write(|state| {
                        let old =
                            |state: &State| state.indexes.by_start.oldest().filter(|oldest| oldest.start_time < time);
                        (0..STEP).map_while(|_| Some(state.remove(old(state)?.trace_id))).count()
                    });
                    deleted += deleted_now;
                    if deleted_now < STEP {
                        break;
                    }
                }
            }
        }
        Ok(deleted as u64)
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        Ok(self.read().stats())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for MemoryBackend {
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        let mut ids: Vec<_> = {
            let state = self.read();
            let headerless = state.traces.iter().filter(|(_, entry)| entry.header.is_none());
            headerless
                .map(|(trace_id, _)| trace_id)
                .filter(|trace_id| after.is_none_or(|after| *trace_id > after))
                .collect()
        };
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }
}
