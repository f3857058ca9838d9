//! A plugin as a [`StorageBackend`]: translates each operation into calls of the functions that the plugin exports.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{
    EventKey, FlowTrace, Position, SortOrder, TraceEvent, TraceId, TracePage, TraceQuery, time,
};
use reflow_tracing_storage::{
    Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageExtras, StorageStats,
};
use wasmtime::component::Resource;

use super::capabilities::connections::ConnectionBudget;
use super::capabilities::granted::Granted;
use super::capabilities::metrics::{Metric, PluginMetrics};
use super::contract::batch::EventBatch;
use super::contract::bindings::reflow::storage::types;
use super::contract::budget::Budget;
use super::contract::flows::Flows;
use super::contract::function::Function;
use super::contract::pages::{Pages, check_count};
use super::contract::{body, convert};
use super::policy::PluginConfig;
use super::runtime::call_metrics::CallMetrics;
use super::runtime::pool::Pool;
use super::runtime::supervisor::maintenance;
use super::runtime::supervisor::reload::Watch;
use super::runtime::supervisor::{PluginReport, Supervisor};
use super::runtime::{PluginComponent, PluginRuntime};
use reflow_tracing_storage::refusals::Refusals;
use reflow_tracing_storage::task::Supervised;

/// Maximum headers per call.
const HEADERS_PER_CALL: u32 = 1_000;
/// Maximum events per call. Bounds the memory and the duration of a call, however large the trace.
const EVENTS_PER_CALL: u32 = 10_000;
/// Maximum events per call of a stream, which should hold few events in memory.
const EVENTS_PER_STREAMED_CALL: u32 = 2_000;
/// Approximate maximum bytes per call that stores events. `limits.result_mb` bounds the answers.
const BYTES_PER_CALL: usize = 8 * 1024 * 1024;
/// A batch to store takes at most this share of `limits.result_mb`: what a capability makes of it is larger.
const SHARE_PER_CALL: usize = 8;
/// The events of one trace that the host collects take at most so many times `limits.result_mb`.
const COLLECTED: usize = 4;
/// Traces that are deleted by their start before older ones are looked for again. Bounds the memory for their ids.
const DELETED_AT_ONCE: usize = 100_000;
/// Partitions that a plugin drops in a row. More than a store has, however small its partitions are.
const PARTITIONS_IN_A_ROW: u32 = 10_000;

/// The order of headers.
type HeaderKey = (i128, TraceId);

/// A running storage plugin.
pub struct PluginBackend {
    supervisor: Arc<Supervisor>,
    metrics: Arc<PluginMetrics>,
    runtime: PluginRuntime,
    config: PluginConfig,
    watch: Mutex<Option<Watch>>,
    maintenance: Mutex<Option<Supervised>>,
    granted: Arc<Granted>,
    refusals: Refusals,
    flows: Flows,
    /// Whether the plugin's own health check has ever said that the store is full.
    check_sees_full_stores: AtomicBool,
    /// Partitions dropped since none was left.
    dropped_in_a_row: AtomicU32,
}

impl PluginBackend {
    /// Loads the component in `file` as the plugin `name` and opens it, in a runtime without a code cache.
    ///
    /// Fails where [`PluginRuntime::load`] does.
    pub async fn load(name: &str, file: &Path, config: &PluginConfig) -> Result<Self, StorageError> {
        PluginRuntime::shared().load(name, file, config).await
    }

    /// Opens `component` as the plugin `name`, in a runtime without a code cache.
    ///
    /// Fails where [`PluginRuntime::open`] does.
    pub async fn open(name: &str, component: PluginComponent, config: &PluginConfig) -> Result<Self, StorageError> {
        PluginRuntime::shared().open(name, component, config).await
    }

    /// Reloads the plugin whenever `file` changes, without a failed call. When the new version does not load or is not
    /// healthy, the old version stays, and the log and [`report`](Self::report) say why.
    ///
    /// Must be called within a Tokio runtime.
    pub fn reload_on_change(&self, file: &Path) {
        let watch = Watch::start(&self.supervisor, self.runtime.clone(), file.to_owned(), self.config.clone());
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// The plugin's health and the metrics of its calls.
    pub fn report(&self) -> PluginReport {
        self.supervisor.report()
    }

    /// The metrics that the plugin records, by name.
    pub fn metrics(&self) -> Vec<(String, Metric)> {
        self.metrics.list()
    }

    /// Calls the plugin's `health-check` alone.
    async fn call_health_check(&self) -> Result<(), StorageError> {
        self.supervisor
            .call(Function::HealthCheck, || async |store, plugin| plugin.backend().call_health_check(store).await)
            .await
    }

    async fn store_headers(&self, headers: Vec<types::Trace>) -> Result<(), StorageError> {
        if headers.is_empty() {
            return Ok(());
        }
        self.supervisor
            .call(Function::StoreTraces, || {
                async |store, plugin| plugin.backend().call_store_traces(store, &headers).await
            })
            .await
    }

    /// Stores events, in chunks that are small enough for the time limit of a call.
    async fn store_in_chunks(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        let mut events = events.into_iter().peekable();
        let bytes_per_call = BYTES_PER_CALL.min(self.config.limits.result_bytes() / SHARE_PER_CALL);
        while events.peek().is_some() {
            let mut chunk = Vec::new();
            let mut bytes = 0;
            while chunk.len() < EVENTS_PER_CALL as usize
                && bytes < bytes_per_call
                && let Some(event) = events.next()
            {
                bytes += event.1.approximate_bytes();
                chunk.push(event);
            }
            self.store_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn store_chunk(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        let batch = EventBatch::new(events, &self.flows);
        self.supervisor
            .call(Function::StoreEvents, || {
                async |store, plugin| {
                    let own = store.data_mut().host.table.push(batch.clone())?;
                    let borrowed = Resource::new_borrow(own.rep());
                    let stored = plugin.backend().call_store_events(&mut *store, borrowed).await?;
                    store.data_mut().host.table.delete(own)?;
                    Ok(stored)
                }
            })
            .await
    }

    /// One page of headers after `pages`, and the token of the next page.
    async fn header_page(
        &self,
        query: &types::TraceQuery,
        page: types::PageRequest,
        pages: &mut Pages<HeaderKey>,
    ) -> Result<(Vec<FlowTrace>, Option<Vec<u8>>), StorageError> {
        let answer = self
            .supervisor
            .call(Function::QueryTraces, || {
                async |store, plugin| plugin.backend().call_query_traces(store, query, &page).await
            })
            .await?;
        let breach = |reason| self.broke_contract("query-traces", reason);
        check_count("traces", &page, answer.bodies.len()).map_err(breach)?;
        let mut headers = answer.bodies.iter().map(|body| self.header(body)).collect::<Result<_, _>>()?;
        let order = if query.ascending { SortOrder::OldestFirst } else { SortOrder::NewestFirst };
        pages
            .check("traces", &page, &mut headers, answer.next.as_deref(), |header| Position::of(header).sort_key(order))
            .map_err(breach)?;
        Ok((headers, answer.next))
    }

    /// Calls `each` with every header that matches, until it returns false. Asks for `per_call` at a time.
    async fn each_header(
        &self,
        query: &types::TraceQuery,
        per_call: u32,
        mut each: impl FnMut(FlowTrace) -> bool + Send,
    ) -> Result<(), StorageError> {
        let (mut token, mut pages) = (None, Pages::new());
        loop {
            let page = types::PageRequest { limit: per_call, offset: 0, token };
            let (headers, next) = self.header_page(query, page, &mut pages).await?;
            for header in headers {
                if !each(header) {
                    return Ok(());
                }
            }
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// One page of a trace's events after `pages`, and the request for the next page. Requests fewer events when the page
    /// exceeds what an instance may hold.
    async fn event_page(
        &self,
        trace_id: TraceId,
        mut page: types::PageRequest,
        pages: &mut Pages<EventKey>,
    ) -> Result<(Vec<TraceEvent>, Option<types::PageRequest>), StorageError> {
        let id = convert::uuid(trace_id.0);
        let (batch, next) = loop {
            let answer = self
                .supervisor
                .call(Function::GetEvents, || {
                    async |store, plugin| match plugin.backend().call_get_events(&mut *store, id, &page).await? {
                        Ok(page) => Ok(Ok((store.data_mut().host.take_batch(page.events)?, page.next))),
                        Err(error) => Ok(Err(error)),
                    }
                })
                .await;
            match answer {
                Err(StorageError::Exhausted(_)) if page.limit > 1 => page.limit = (page.limit / 10).max(1),
                answer => break answer?,
            }
        };
        let mut events = batch.into_events();
        pages
            .check("events", &page, &mut events, next.as_deref(), TraceEvent::key)
            .map_err(|reason| self.broke_contract("get-events", reason))?;
        Ok((events, next.map(|token| types::PageRequest { token: Some(token), ..page })))
    }

    /// A page of the headers that follow a position. Clients whose protocol has no page tokens continue from a position.
    async fn page_after(
        &self,
        mut query: types::TraceQuery,
        after: Position,
        order: SortOrder,
        limit: usize,
    ) -> Result<TracePage, StorageError> {
        let bound = match order {
            SortOrder::OldestFirst => query.start_from.map_or(after.start_time, |from| from.max(after.start_time)),
            SortOrder::NewestFirst => query.start_to.map_or(after.start_time, |to| to.min(after.start_time)),
        };
        *(if order == SortOrder::OldestFirst { &mut query.start_from } else { &mut query.start_to }) = Some(bound);
        let mut traces = Vec::new();
        // One more shows whether another page follows, and the trace at the position is usually found again.
        let per_call = u32::try_from(limit + 2).unwrap_or(u32::MAX).min(HEADERS_PER_CALL);
        // Traces that start at the same time as the position may come before it.
        self.each_header(&query, per_call, |header| {
            if traces.len() <= limit && Position::of(&header).sort_key(order) > after.sort_key(order) {
                traces.push(header);
            }
            traces.len() <= limit
        })
        .await?;
        let is_more = traces.len() > limit;
        traces.truncate(limit);
        let next_page_token = traces.last().filter(|_| is_more).map(|last| Position::of(last).token());
        Ok(TracePage { traces, next_page_token, total: None })
    }

    fn header(&self, body: &[u8]) -> Result<FlowTrace, StorageError> {
        body::decode_within(body, &self.budget())
            .map_err(|error| StorageError::Corrupt(format!("plugin `{}` returned {error}", self.supervisor.plugin())))
    }

    /// What the host may hold for a call.
    fn budget(&self) -> Budget {
        Budget::new(self.supervisor.name(), self.config.limits.result_mb, 0)
    }

    fn broke_contract(&self, call: &'static str, reason: String) -> StorageError {
        StorageError::Plugin { plugin: self.supervisor.plugin().into(), call, reason, retryable: false }
    }

    async fn count(&self, query: &types::TraceQuery) -> Result<u64, StorageError> {
        let mut count = 0;
        self.each_header(query, HEADERS_PER_CALL, |_| {
            count += 1;
            true
        })
        .await?;
        Ok(count)
    }

    /// Deletes the traces that started before `time`, some at a time.
    async fn delete_started_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        let mut all = 0;
        loop {
            let ids = self.started_before(time).await?;
            let found = ids.len();
            let deleted = self.delete_by_ids(ids).await?;
            all += deleted;
            if found < DELETED_AT_ONCE {
                return Ok(all);
            }
            if deleted == 0 {
                let reason = format!("it deleted none of the {found} traces that it had listed");
                return Err(self.broke_contract("delete-traces", reason));
            }
        }
    }

    /// The oldest of the traces that started before `time`, at most [`DELETED_AT_ONCE`].
    async fn started_before(&self, time: DateTime<Utc>) -> Result<Vec<types::Uuid>, StorageError> {
        let oldest = convert::query(&TraceQuery { order: SortOrder::OldestFirst, ..TraceQuery::default() });
        let mut old = Vec::new();
        self.each_header(&oldest, HEADERS_PER_CALL, |header| {
            let before = time::nanos(header.start_time) < time::nanos(time);
            if before {
                old.push(convert::uuid(header.trace_id.0));
            }
            before && old.len() < DELETED_AT_ONCE
        })
        .await?;
        Ok(old)
    }

    async fn delete_by_ids(&self, ids: Vec<types::Uuid>) -> Result<u64, StorageError> {
        let mut deleted: u64 = 0;
        for ids in ids.chunks(HEADERS_PER_CALL as usize) {
            let answer = self.supervisor.call(Function::DeleteTraces, || {
                async |store, plugin| plugin.backend().call_delete_traces(store, ids).await
            });
            deleted += answer.await?.min(ids.len() as u64);
        }
        Ok(deleted)
    }
}

impl PluginRuntime {
    /// Loads the component in `file` as the plugin `name` and opens it.
    ///
    /// Fails where [`compile`](Self::compile) or [`open`](Self::open) does.
    pub async fn load(&self, name: &str, file: &Path, config: &PluginConfig) -> Result<PluginBackend, StorageError> {
        let component = self.compile(name, file, config).await?;
        self.open(name, component, config).await
    }

    /// Opens `component` as the plugin `name`. The `file` and `sha256` in `config` are ignored.
    ///
    /// Fails when the configuration is invalid, or when the plugin fails to open or is not healthy.
    pub async fn open(
        &self,
        name: &str,
        PluginComponent(compiled): PluginComponent,
        config: &PluginConfig,
    ) -> Result<PluginBackend, StorageError> {
        config.limits.check(name)?;
        let limits = Arc::new(config.limits.clone());
        let connections = ConnectionBudget::new(limits.connections, self.connections());
        let granted = Arc::new(Granted::new(name, config, &connections)?);
        let settings = serde_json::to_string(&config.config)?;
        let call_metrics = Arc::new(CallMetrics::default());
        let metrics = Arc::clone(&granted.metrics);
        let component = compiled.component.clone();
        let pool = Pool::new(name.into(), component, settings, limits, Arc::clone(&granted), Arc::clone(&call_metrics));
        let supervisor = Arc::new(Supervisor::new(pool, call_metrics, &compiled));
        let backend = PluginBackend {
            maintenance: Mutex::new(Some(maintenance::start(&supervisor))),
            supervisor,
            metrics,
            runtime: self.clone(),
            config: config.clone(),
            watch: Mutex::default(),
            granted,
            refusals: Refusals::default(),
            flows: Flows::default(),
            check_sees_full_stores: AtomicBool::new(false),
            dropped_in_a_row: AtomicU32::new(0),
        };
        // Not `health_check`, which fails on a full disk: the store can still be read.
        backend.call_health_check().await?;
        Ok(backend)
    }
}

#[async_trait]
impl StorageBackend for PluginBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        match self.get_headers(vec![trace_id]).await?.pop().flatten() {
            Some(header) => Ok(Some(FlowTrace { events: self.get_events(trace_id).await?, ..header })),
            None => Ok(None),
        }
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        let (mut events, mut pages, mut bytes) = (Vec::new(), Pages::new(), 0);
        let most = self.config.limits.result_bytes().saturating_mul(COLLECTED);
        let mut page = Some(types::PageRequest { limit: EVENTS_PER_CALL, offset: 0, token: None });
        while let Some(request) = page {
            let (page_events, next) = self.event_page(trace_id, request, &mut pages).await?;
            bytes += page_events.iter().map(TraceEvent::approximate_bytes).sum::<usize>();
            if bytes > most {
                return Err(StorageError::Exhausted(format!(
                    "the events of trace {trace_id} take more than {} MiB, {COLLECTED} times plugins.{}.limits.result_mb: \
                     `reflow-tracing export` and the library's `stream_events` read them one by one",
                    most >> 20,
                    self.supervisor.plugin()
                )));
            }
            events.extend(page_events);
            page = next;
        }
        Ok(events)
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let first = types::PageRequest { limit: EVENTS_PER_STREAMED_CALL, offset: 0, token: None };
        stream::try_unfold((Some(first), Pages::new()), move |(page, mut pages)| async move {
            let Some(request) = page else { return Ok::<_, StorageError>(None) };
            let (events, next) = self.event_page(trace_id, request, &mut pages).await?;
            Ok(Some((stream::iter(events.into_iter().map(Ok)), (next, pages))))
        })
        .try_flatten()
        .boxed()
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.granted.check_room().await?;
        match self.call_health_check().await {
            Err(full @ StorageError::Exhausted(_)) => {
                self.check_sees_full_stores.store(true, Ordering::Relaxed);
                Err(full)
            }
            // A check that has seen a full store knows best whether there is room again.
            Ok(()) if self.check_sees_full_stores.load(Ordering::Relaxed) => Ok(()),
            Ok(()) => self.refusals.check(),
            Err(error) => Err(error),
        }
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        traces.iter().for_each(|trace| self.flows.note(trace.trace_id, &trace.flow_id.0));
        let (headers, events): (Vec<_>, Vec<_>) = traces.into_iter().map(convert::header).unzip();
        let stored = async {
            // Events first: a reader that finds the header then finds every event.
            self.store_in_chunks(events.into_iter().flatten().collect()).await?;
            self.store_headers(headers).await
        };
        self.refusals.note(stored.await)
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        self.refusals.note(self.store_in_chunks(events).await)
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let limit = query.checked_limit().map_err(StorageError::InvalidArgument)?;
        let order = query.order;
        let after = query.page_token.as_deref().and_then(Position::parse);
        let token = match (&query.page_token, after) {
            (Some(token), None) => Some(decode_token(token)?),
            _ => None,
        };
        let offset = query.offset.unwrap_or(0) as u64;
        let query = convert::query(&query);
        let mut page = TracePage::default();
        if let Some(after) = after {
            page = self.page_after(query.clone(), after, order, limit).await?;
        } else if limit > 0 {
            let request = types::PageRequest {
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
                // The first page skipped them; later pages continue from its end.
                offset: if token.is_some() { 0 } else { offset },
                token,
            };
            let (traces, next) = self.header_page(&query, request, &mut Pages::new()).await?;
            page.traces = traces;
            page.next_page_token = next.map(encode_token);
        }
        if detail == Detail::Traces {
            for trace in &mut page.traces {
                trace.events = self.get_events(trace.trace_id).await?;
            }
        }
        if total {
            page.total = Some(self.count(&query).await?);
        }
        Ok(page)
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let ids: Vec<_> = trace_ids.iter().map(|trace_id| convert::uuid(trace_id.0)).collect();
        let bodies = self
            .supervisor
            .call(Function::GetTraces, || async |store, plugin| plugin.backend().call_get_traces(store, &ids).await)
            .await?;
        if bodies.len() != ids.len() {
            let reason = format!("it returned {} traces, but {} were requested", bodies.len(), ids.len());
            return Err(self.broke_contract("get-traces", reason));
        }
        bodies.iter().map(|body| body.as_ref().map(|body| self.header(body)).transpose()).collect()
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        match deletion {
            Deletion::Traces(trace_ids) => {
                self.delete_by_ids(trace_ids.iter().map(|trace_id| convert::uuid(trace_id.0)).collect()).await
            }
            Deletion::StartedBefore(time) => self.delete_started_before(time).await,
        }
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        let stats = self
            .supervisor
            .call(Function::GetStats, || async |store, plugin| plugin.backend().call_get_stats(store).await)
            .await?;
        Ok(StorageStats {
            traces: stats.traces,
            events: stats.events,
            bytes: stats.bytes,
            oldest: stats.oldest.map(DateTime::from_timestamp_nanos),
            newest: stats.newest.map(DateTime::from_timestamp_nanos),
        })
    }

    async fn close(&self) -> Result<(), StorageError> {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.maintenance.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.supervisor.close();
        Ok(())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for PluginBackend {
    fn warnings(&self) -> Vec<String> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = [watch.as_ref().map(Watch::health), maintenance.as_ref().map(Supervised::health)];
        tasks.into_iter().flatten().filter_map(|health| health.warning()).collect()
    }

    /// All instances but one, so that readers do not wait for writers.
    fn concurrent_writes(&self) -> usize {
        self.config.limits.instances.saturating_sub(1).max(1)
    }

    async fn drop_oldest_partition(&self, ended_by: DateTime<Utc>) -> Result<Option<u64>, StorageError> {
        if !self.supervisor.component().has_expiry() {
            return Ok(None);
        }
        let ended_by = time::nanos(ended_by);
        let dropped = self
            .supervisor
            .call(Function::DropOldest, || async |store, plugin| plugin.drop_oldest(store, ended_by).await);
        let dropped = dropped.await?;
        if dropped == 0 {
            self.dropped_in_a_row.store(0, Ordering::Relaxed);
        } else if self.dropped_in_a_row.fetch_add(1, Ordering::Relaxed) >= PARTITIONS_IN_A_ROW {
            self.dropped_in_a_row.store(0, Ordering::Relaxed);
            let reason =
                format!("it dropped {PARTITIONS_IN_A_ROW} partitions one after another, and still has an older one");
            return Err(self.broke_contract("drop-oldest", reason));
        }
        Ok(Some(dropped))
    }
}

/// A plugin's page token as hexadecimal text.
fn encode_token(token: Vec<u8>) -> String {
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_token(token: &str) -> Result<Vec<u8>, StorageError> {
    let digits: Option<Vec<_>> = token.chars().map(|digit| digit.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
        }
        _ => Err(StorageError::InvalidArgument(format!(
            "page_token {token:?} is not valid: it must come from a page of this store"
        ))),
    }
}
