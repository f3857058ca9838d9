//! Queries. The matching headers are read in order, chunk by chunk. From each chunk, headers that are not the latest of their
//! trace are removed, then traces without the requested events.

use std::collections::{HashMap, HashSet};

use clickhouse::Row;
use reflow_tracing_model::{Position, TraceId, TracePage, TraceQuery, Window};
use reflow_tracing_storage::{Detail, PageRequest, StorageError};
use serde::Deserialize;

use super::connection::Server;
use super::event::{Id, uuid};
use super::header::StoredHeader;
use super::literal;
use super::lookup::{self, Spans};
use super::read::events_of;
use super::select::{IS_ERROR, Select};

/// The first size of a chunk, in headers, if conditions on events apply. The largest is the number of ids that fit into a
/// statement.
const FIRST_CHUNK: usize = 200;

/// Reads the matching traces chunk by chunk.
pub(super) struct Walk<'a> {
    server: &'a Server,
    select: Select,
    after: Option<Position>,
    chunk: usize,
    ended: bool,
}

/// A matching trace: its latest header, and where its rows are.
pub(super) struct Matching {
    pub header: StoredHeader,
    pub spans: Spans,
}

impl<'a> Walk<'a> {
    /// `wanted` is the expected number of traces.
    pub(super) fn new(server: &'a Server, select: Select, after: Option<Position>, wanted: usize) -> Self {
        let least = if select.is_of_headers() { 1 } else { FIRST_CHUNK };
        Self { server, select, after, chunk: wanted.clamp(least, server.ids_at_once), ended: false }
    }

    /// The matching traces of the next chunk, in order; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Matching>>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        let sql = self.select.headers(&self.server.tables.traces, self.after, self.chunk);
        let rows: Vec<StoredHeader> = self.server.rows(&sql).await?;
        self.ended = rows.len() < self.chunk;
        self.chunk = (self.chunk * 4).min(self.server.ids_at_once);
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = Some(Position { start_time: last.start_time, trace_id: last.trace_id() });
        let latest = self.latest(rows).await?;
        if self.select.is_of_headers() || latest.is_empty() {
            return Ok(Some(latest));
        }
        let mut answers = self.ask_events(&latest).await?;
        let matching = latest.into_iter().filter(|found| {
            let events = answers.remove(&found.header.trace_id());
            let says = |flag: fn(&EventAnswer) -> u8| events.as_ref().is_some_and(|events| flag(events) != 0);
            let failed = says(|events| events.has_error) || found.header.failed();
            (self.select.events.is_empty() || says(|events| events.holds))
                && self.select.has_error.is_none_or(|wanted| wanted == failed)
        });
        Ok(Some(matching.collect()))
    }

    /// The headers that no later header of their trace replaced.
    async fn latest(&self, rows: Vec<StoredHeader>) -> Result<Vec<Matching>, StorageError> {
        let ids: HashSet<TraceId> = rows.iter().map(StoredHeader::trace_id).collect();
        let spans = lookup::spans(self.server, ids.iter().copied()).await?;
        let starts = Spans::of(spans.values()).starts;
        if starts.is_empty() {
            // The traces were deleted meanwhile.
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT trace_id, max(stored_at) FROM {} WHERE {} AND trace_id IN {} GROUP BY trace_id",
            self.server.tables.traces,
            starts.contains("start_time"),
            literal::ids(ids)
        );
        let latest: Vec<Latest> = self.server.rows(&sql).await?;
        let mut latest: HashMap<TraceId, i64> =
            latest.iter().map(|latest| (TraceId(uuid(latest.trace_id)), latest.stored_at)).collect();
        let mut found = Vec::new();
        for header in rows {
            let trace_id = header.trace_id();
            if latest.get(&trace_id) == Some(&header.stored_at)
                && let Some(spans) = spans.get(&trace_id)
            {
                // Return each trace once.
                latest.remove(&trace_id);
                found.push(Matching { header, spans: *spans });
            }
        }
        Ok(found)
    }

    /// Evaluates the conditions on the events of these traces. Of several rows with one key, the first stored counts.
    async fn ask_events(&self, found: &[Matching]) -> Result<HashMap<TraceId, EventAnswer>, StorageError> {
        let span = Spans::of(found.iter().map(|found| &found.spans)).events;
        if span.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = literal::ids(found.iter().map(|found| found.header.trace_id()));
        let mut conditions: Vec<&str> = self.select.events.iter().map(String::as_str).collect();
        conditions.push(IS_ERROR);
        let flags: Vec<_> = conditions
            .iter()
            .enumerate()
            .map(|(number, condition)| format!("toUInt8({condition}) AS flag{number}"))
            .collect();
        let first: Vec<_> =
            (0..flags.len()).map(|number| format!("argMax(flag{number}, rank) AS first{number}")).collect();
        let any: Vec<_> = (0..flags.len() - 1).map(|number| format!("max(first{number})")).collect();
        let sql = format!(
            "SELECT trace_id, toUInt8({}), max(first{}) FROM (\
             SELECT trace_id, {} FROM (SELECT trace_id, timestamp, event_id, rank, {} FROM {} WHERE {} AND trace_id IN {ids}) \
             GROUP BY trace_id, timestamp, event_id) GROUP BY trace_id",
            if any.is_empty() { "1".to_owned() } else { any.join(" AND ") },
            flags.len() - 1,
            first.join(", "),
            flags.join(", "),
            self.server.tables.events,
            span.contains("timestamp"),
        );
        let answers: Vec<EventAnswer> = self.server.rows(&sql).await?;
        Ok(answers.into_iter().map(|answer| (TraceId(uuid(answer.trace_id)), answer)).collect())
    }
}

#[derive(Row, Deserialize)]
struct Latest {
    trace_id: Id,
    stored_at: i64,
}

#[derive(Row, Deserialize)]
struct EventAnswer {
    trace_id: Id,
    /// Each condition holds for an event.
    holds: u8,
    /// An event reports an error.
    has_error: u8,
}

/// The requested page, without work that it doesn't need.
pub(super) async fn page(server: &Server, request: PageRequest) -> Result<TracePage, StorageError> {
    let PageRequest { query, detail, total } = request;
    query.validate().map_err(StorageError::InvalidArgument)?;
    let window = query.window().map_err(StorageError::InvalidArgument)?;
    server.check_open()?;
    let total = async {
        match total {
            true => count(server, &query).await.map(Some),
            false => Ok(None),
        }
    };
    let found = async {
        let (mut page, spans) = headers(server, &query, window).await?;
        if detail == Detail::Traces {
            let mut events = events_of(server, &spans).await?;
            for trace in &mut page.traces {
                trace.events = events.remove(&trace.trace_id).unwrap_or_default();
            }
        }
        Ok(page)
    };
    let (total, page) = tokio::try_join!(total, found)?;
    Ok(TracePage { total, ..page })
}

/// The headers of a page, and where the rows of their traces are.
async fn headers(
    server: &Server,
    query: &TraceQuery,
    window: Window,
) -> Result<(TracePage, HashMap<TraceId, Spans>), StorageError> {
    if window.limit == 0 {
        return Ok((TracePage::default(), HashMap::new()));
    }
    // One trace more than the page holds shows whether another page follows.
    let wanted = window.limit + 1;
    let mut walk = Walk::new(server, Select::new(query), window.after, wanted.saturating_add(window.offset));
    let (mut skip, mut found) = (window.offset, Vec::new());
    while found.len() < wanted
        && let Some(matching) = walk.next().await?
    {
        let skipped = skip.min(matching.len());
        skip -= skipped;
        let missing = wanted - found.len();
        found.extend(matching.into_iter().skip(skipped).take(missing));
    }
    let more = found.len() > window.limit;
    found.truncate(window.limit);
    let spans = found.iter().map(|found| (found.header.trace_id(), found.spans)).collect();
    let traces: Vec<_> = found.into_iter().map(|found| found.header.header()).collect::<Result<_, _>>()?;
    let next_page_token = traces.last().filter(|_| more).map(|last| Position::of(last).token());
    Ok((TracePage { traces, next_page_token, total: None }, spans))
}

/// The number of matching traces, regardless of the window.
async fn count(server: &Server, query: &TraceQuery) -> Result<u64, StorageError> {
    let select = Select::new(query);
    if select.is_of_headers() {
        let sql = format!(
            "SELECT count() FROM (SELECT argMax(toUInt8({}), stored_at) AS matches FROM {} GROUP BY trace_id) WHERE matches = 1",
            select.header(),
            server.tables.traces
        );
        return server.row(&sql).await;
    }
    let mut walk = Walk::new(server, select, None, server.ids_at_once);
    let mut count = 0;
    while let Some(matching) = walk.next().await? {
        count += matching.len() as u64;
    }
    Ok(count)
}
