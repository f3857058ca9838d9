//! Streams traces and events as the server sends them, with few in memory.

use std::collections::VecDeque;

use clickhouse::query::RowCursor;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reflow_tracing_model::{EventKey, FlowTrace, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_storage::streaming::BatchBudget;
use reflow_tracing_storage::{StorageError, TracePart};

use super::connection::Server;
use super::event::StoredEvent;
use super::lookup::{self, Spans};
use super::read::select_events;
use super::search::{Matching, Walk};
use super::select::Select;

/// Traces per statement that reads events.
const AT_ONCE: usize = 500;

/// The events of a trace.
pub(super) fn events(server: &Server, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
    stream::try_unfold(None, move |events: Option<Events>| async move {
        let mut events = match events {
            Some(events) => events,
            None => {
                let spans = lookup::spans(server, [trace_id]).await?;
                Events::new(server, spans.into_iter().collect())
            }
        };
        Ok(events.next().await?.map(|event| (event, Some(events))))
    })
    .boxed()
}

/// The matching traces in order.
pub(super) fn traces(server: &Server, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
    if let Err(problem) = query.validate() {
        return stream::iter([Err(StorageError::InvalidArgument(problem))]).boxed();
    }
    let traces = Traces {
        walk: Walk::new(server, Select::new(&query), None, AT_ONCE),
        found: VecDeque::new(),
        headers: VecDeque::new(),
        events: Events::new(server, VecDeque::new()),
        in_trace: false,
    };
    stream::try_unfold(traces, |mut traces| async move { Ok(traces.next().await?.map(|part| (part, traces))) }).boxed()
}

struct Traces<'a> {
    walk: Walk<'a>,
    found: VecDeque<Matching>,
    /// The traces whose events are being read and whose header was not returned yet.
    headers: VecDeque<FlowTrace>,
    events: Events<'a>,
    /// Whether events of the last returned header may follow.
    in_trace: bool,
}

impl Traces<'_> {
    async fn next(&mut self) -> Result<Option<TracePart>, StorageError> {
        loop {
            if self.in_trace {
                let batch = self.next_batch().await?;
                if !batch.is_empty() {
                    return Ok(Some(TracePart::Events(batch)));
                }
            }
            if let Some(header) = self.headers.pop_front() {
                self.in_trace = true;
                return Ok(Some(TracePart::Header(header)));
            }
            if self.found.is_empty() {
                let Some(found) = self.walk.next().await? else { return Ok(None) };
                self.found = found.into();
            }
            let next: Vec<_> = self.found.drain(..self.found.len().min(AT_ONCE)).collect();
            self.events = Events::new(
                self.events.server,
                next.iter().map(|Matching { header, spans }| (header.trace_id(), *spans)).collect(),
            );
            self.headers = next.into_iter().map(|found| found.header.header()).collect::<Result<_, _>>()?;
        }
    }

    /// The next events of the trace; empty after the last.
    async fn next_batch(&mut self) -> Result<Vec<TraceEvent>, StorageError> {
        let (mut batch, mut budget) = (Vec::new(), BatchBudget::default());
        while budget.is_left() {
            let Some(event) = self.events.next().await? else {
                self.in_trace = false;
                break;
            };
            budget.take(&event);
            batch.push(event);
        }
        Ok(batch)
    }
}

/// The events of several traces, trace by trace.
struct Events<'a> {
    server: &'a Server,
    /// The traces whose events were not all returned.
    traces: VecDeque<(TraceId, Spans)>,
    /// The last returned event of the first of them.
    last: Option<EventKey>,
    cursor: Option<RowCursor<StoredEvent>>,
    /// The first row of a later trace, already read.
    ahead: Option<StoredEvent>,
    ended: bool,
}

impl<'a> Events<'a> {
    fn new(server: &'a Server, traces: VecDeque<(TraceId, Spans)>) -> Self {
        Self { server, traces, last: None, cursor: None, ahead: None, ended: false }
    }

    /// The next event of the first trace. After its last event this returns `None` once, and continues with the next trace.
    async fn next(&mut self) -> Result<Option<TraceEvent>, StorageError> {
        let mut again = true;
        while let Some((trace_id, _)) = self.traces.front() {
            let trace_id = *trace_id;
            let row = match self.ahead.take() {
                Some(row) => Some(row),
                None => match self.read().await {
                    Ok(row) => row,
                    // Query the remaining events again.
                    Err(error) if error.is_retryable() && std::mem::take(&mut again) => {
                        self.cursor = None;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match row {
                Some(row) if row.trace_id() == trace_id => {
                    // The first row of a key counts. A repeated statement returns rows again that were returned before.
                    if self.last.is_none_or(|last| row.key() > last) {
                        self.last = Some(row.key());
                        return row.event().map(Some);
                    }
                }
                later => {
                    (self.ahead, self.last) = (later, None);
                    self.traces.pop_front();
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<StoredEvent>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        let row = match &mut self.cursor {
            Some(cursor) => self.server.within_limit(cursor.next()).await,
            None => {
                let spans = Spans::of(self.traces.iter().map(|(_, spans)| spans));
                if spans.events.is_empty() {
                    self.ended = true;
                    return Ok(None);
                }
                let cursor = self.server.cursor(&self.statement(spans))?;
                self.server.within_limit(self.cursor.insert(cursor).next()).await
            }
        };
        let row = row.map_err(|error| self.server.describe(error))?;
        self.ended = row.is_none();
        Ok(row)
    }

    fn statement(&self, spans: Spans) -> String {
        let ids: Vec<_> = self.traces.iter().map(|(trace_id, _)| format!("'{trace_id}'")).collect();
        let ids = ids.join(",");
        let order = match self.traces.len() {
            // This is the order of the table, so the server doesn't sort.
            1 => String::new(),
            count => format!("transform(trace_id, CAST([{ids}], 'Array(UUID)'), range(1, {}), 0), ", count + 1),
        };
        format!(
            "{} ORDER BY {order}timestamp, UUIDToNum(event_id), rank DESC",
            select_events(self.server, spans, &format!("trace_id IN ({ids})"))
        )
    }
}
