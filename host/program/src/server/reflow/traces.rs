//! Answers that hold traces. They are written while the traces are read, so that no more than one answer and one batch of
//! events are in memory, and reading ends as soon as the answer is too large.

use std::collections::VecDeque;

use futures::TryStreamExt;
use reflow_tracing::storage::{Detail, FlowTrace, PageRequest, StorageBackend, StorageError, TracePart};
use reflow_tracing::{TraceEvent, TraceId, TraceQuery};

use super::answer::{Answer, MAX_ANSWER_BYTES, TooLarge};
use super::message::RequestId;
use crate::budget::Account;

/// The headers that are read at a time.
const HEADERS: usize = 50;

/// `TraceData`.
pub(super) async fn trace_data(
    storage: &dyn StorageBackend,
    trace_id: TraceId,
    request_id: Option<&RequestId>,
    account: &Account,
) -> Result<Answer, StorageError> {
    let header = storage.get_headers(vec![trace_id]).await?.pop().flatten();
    let mut answer = TracesAnswer::begin("TraceData", request_id, account)?;
    answer.json("\"trace\":")?;
    match header {
        Some(header) => answer.read_trace(storage, header).await?,
        None => answer.json("null")?,
    }
    answer.end("}}")
}

/// `QueryResults`.
pub(super) async fn query_results(
    storage: &dyn StorageBackend,
    mut query: TraceQuery,
    request_id: Option<&RequestId>,
    account: &Account,
) -> Result<Answer, StorageError> {
    let mut left = query.checked_limit().map_err(StorageError::InvalidArgument)?;
    let mut answer = TracesAnswer::begin("QueryResults", request_id, account)?;
    answer.json("\"traces\":[")?;
    let mut total = None;
    loop {
        query.limit = Some(left.min(HEADERS));
        let request = PageRequest { query: query.clone(), detail: Detail::Headers, total: total.is_none() };
        let page = storage.query_page(request).await?;
        total = total.or(page.total);
        left = left.saturating_sub(page.traces.len());
        answer.read_page(storage, &query, page.traces.into()).await?;
        match page.next_page_token {
            Some(token) if left > 0 => query.page_token = Some(token),
            _ => break,
        }
    }
    let total =
        total.ok_or_else(|| StorageError::Unsupported("this backend can't count the traces that match".into()))?;
    answer.end(&format!("],\"total_count\":{total}}}}}"))
}

/// An answer while it is written.
struct TracesAnswer<'a> {
    json: Answer,
    /// What pays for it.
    account: &'a Account,
    /// The traces that are complete.
    complete: usize,
    /// The trace after them.
    open: Option<OpenTrace>,
}

/// A trace whose header is written, and some of its events.
struct OpenTrace {
    trace_id: TraceId,
    events: usize,
    /// What follows the events.
    rest: String,
}

impl<'a> TracesAnswer<'a> {
    fn begin(name: &str, request_id: Option<&RequestId>, account: &'a Account) -> Result<Self, StorageError> {
        match Answer::begin(name, request_id) {
            Ok(json) => Ok(Self { json, account, complete: 0, open: None }),
            Err(TooLarge) => Err(StorageError::InvalidArgument("the `request_id` is too long".into())),
        }
    }

    fn end(mut self, json: &str) -> Result<Answer, StorageError> {
        self.json(json)?;
        Ok(self.json)
    }

    fn json(&mut self, json: &str) -> Result<(), StorageError> {
        self.json.json(json).map_err(|TooLarge| self.too_large())
    }

    async fn pay(&mut self) -> Result<(), StorageError> {
        self.json.pay(self.account).await.map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    /// Writes a trace whose events are read here.
    async fn read_trace(&mut self, storage: &dyn StorageBackend, header: FlowTrace) -> Result<(), StorageError> {
        let mut events = storage.stream_events(header.trace_id);
        self.begin_trace(header)?;
        while let Some(event) = events.try_next().await? {
            self.event(&event)?;
            self.pay().await?;
        }
        self.end_trace()
    }

    /// Writes the traces with these headers, which are a page of `query`.
    async fn read_page(
        &mut self,
        storage: &dyn StorageBackend,
        query: &TraceQuery,
        mut headers: VecDeque<FlowTrace>,
    ) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (headers.front(), headers.back()) else { return Ok(()) };
        let (first, last) = (first.start_time, last.start_time);
        // The stream can't begin at an offset or after a page, but at a time.
        let time_range = Some((first.min(last), first.max(last)));
        let of_page = TraceQuery { time_range, limit: None, offset: None, page_token: None, ..query.clone() };
        let mut missed = Vec::new();
        {
            let mut parts = storage.stream_traces(of_page);
            while let Some(part) = parts.try_next().await? {
                match part {
                    TracePart::Header(header) => {
                        self.end_trace()?;
                        if headers.is_empty() {
                            break;
                        }
                        // Others may have the same start.
                        let Some(index) = headers.iter().position(|of_page| of_page.trace_id == header.trace_id) else {
                            continue;
                        };
                        missed.extend(headers.drain(..index).map(|missed| missed.trace_id));
                        headers.pop_front();
                        self.begin_trace(header)?;
                        self.pay().await?;
                    }
                    TracePart::Events(events) if self.open.is_some() => {
                        for event in &events {
                            self.event(event)?;
                            self.pay().await?;
                        }
                    }
                    TracePart::Events(_) => {}
                    TracePart::Unreadable(problem) => return Err(StorageError::Corrupt(problem)),
                }
            }
        }
        self.end_trace()?;
        // They changed since their headers were read.
        missed.extend(headers.into_iter().map(|missed| missed.trace_id));
        if !missed.is_empty() {
            for header in storage.get_headers(missed).await?.into_iter().flatten() {
                self.read_trace(storage, header).await?;
            }
        }
        Ok(())
    }

    fn begin_trace(&mut self, header: FlowTrace) -> Result<(), StorageError> {
        let trace_id = header.trace_id;
        // Its id is new, so its JSON is nowhere else.
        let placeholder = TraceEvent::default();
        let trace = FlowTrace { events: vec![placeholder.clone()], ..header };
        let (trace, placeholder) = (serde_json::to_string(&trace)?, serde_json::to_string(&placeholder)?);
        let (start, rest) = trace.split_once(&placeholder).expect("the trace has this event");
        self.open = Some(OpenTrace { trace_id, events: 0, rest: rest.to_owned() });
        let comma = if self.complete > 0 { "," } else { "" };
        self.json(comma)?;
        self.json(start)
    }

    fn event(&mut self, event: &TraceEvent) -> Result<(), StorageError> {
        let comma = if self.open.as_ref().is_some_and(|open| open.events > 0) { "," } else { "" };
        self.json(comma)?;
        self.json.value(event).map_err(|TooLarge| self.too_large())?;
        if let Some(open) = &mut self.open {
            open.events += 1;
        }
        Ok(())
    }

    /// Ends the open trace, if there is one.
    fn end_trace(&mut self) -> Result<(), StorageError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let rest = std::mem::take(&mut open.rest);
        self.json(&rest)?;
        self.open = None;
        self.complete += 1;
        Ok(())
    }

    fn too_large(&self) -> StorageError {
        let limit = MAX_ANSWER_BYTES >> 20;
        let remedy = "`reflow-tracing export` and the library's `stream_events` and `query_page` have no such limit";
        StorageError::InvalidArgument(match (&self.open, self.complete) {
            (Some(OpenTrace { trace_id, events, .. }), 0) => format!(
                "trace {trace_id} is larger than {limit} MiB as JSON, the most that one answer may have: it was full after \
                 {events} events. {remedy}"
            ),
            (_, complete) => format!(
                "the traces are larger than {limit} MiB as JSON, the most that one answer may have: it was full after \
                 {complete} traces. Query them in pages with `limit`, at most {complete}, and `offset`; {remedy}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use futures::StreamExt;
    use futures::stream::{self, BoxStream};
    use serde_json::{Value, json};

    use super::*;
    use crate::budget::Budget;

    /// A store of one trace without an end.
    struct Endless(FlowTrace);

    #[async_trait]
    impl StorageBackend for Endless {
        async fn store_trace(&self, _: FlowTrace) -> Result<(), StorageError> {
            Ok(())
        }

        async fn get_trace(&self, _: TraceId) -> Result<Option<FlowTrace>, StorageError> {
            Ok(Some(self.0.clone()))
        }

        async fn query_traces(&self, _: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
            Ok(vec![self.0.clone()])
        }

        async fn store_event(&self, _: TraceId, _: TraceEvent) -> Result<(), StorageError> {
            Ok(())
        }

        async fn get_events(&self, _: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
            std::future::pending().await
        }

        async fn health_check(&self) -> Result<(), StorageError> {
            Ok(())
        }

        fn stream_events(&self, _: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
            let mut event = TraceEvent::default();
            event.data.custom_attributes.insert("payload".into(), json!("x".repeat(1 << 20)));
            stream::repeat_with(move || Ok(event.clone())).boxed()
        }
    }

    #[tokio::test]
    async fn reading_ends_when_the_answer_is_too_large() {
        let store = Endless(FlowTrace::default());
        let account = Budget::new(512 << 20).account().unwrap();
        let got =
            tokio::time::timeout(Duration::from_secs(60), trace_data(&store, store.0.trace_id, None, &account)).await;
        assert!(matches!(got, Ok(Err(StorageError::InvalidArgument(_)))), "{got:?}");
        let query = query_results(&store, TraceQuery::default(), None, &account);
        let queried = tokio::time::timeout(Duration::from_secs(60), query).await;
        assert!(matches!(queried, Ok(Err(StorageError::InvalidArgument(_)))), "{queried:?}");
    }

    #[tokio::test]
    async fn a_trace_is_written_as_it_is_serialized() {
        let store = reflow_tracing::storage::MemoryStorage::new();
        let account = Budget::new(512 << 20).account().unwrap();
        let text: FlowTrace = serde_json::from_value(json!({
            // What could be taken for the events.
            "events": [], "version": {"events": [], "major": 1, "minor": 0, "patch": 0, "git_hash": "\"events\":[]", "timestamp": "2026-01-01T00:00:00Z"},
            "trace_id": TraceId::new(), "flow_id": "f", "execution_id": TraceId::new(), "status": {"Failed": {"error": "[\"events\":[]"}},
            "start_time": "2026-01-01T00:00:00Z", "end_time": null, "unknown": {"events": []},
            "metadata": {"user_id": null, "session_id": null, "environment": "", "hostname": "", "process_id": 1, "thread_id": "", "tags": {"events": "[]"}},
        }))
        .unwrap();
        for events in [0, 1, 3] {
            let mut trace = FlowTrace { trace_id: TraceId::new(), ..text.clone() };
            trace.events = (0..events).map(|_| TraceEvent::default()).collect();
            store.store_trace(trace.clone()).await.unwrap();
            let answer = trace_data(&store, trace.trace_id, Some(&json!({"a": [1]})), &account).await.unwrap();
            let frames: Vec<_> = answer.into_frames().flat_map(|frame| frame.into_data()).collect();
            let answer: Value = serde_json::from_slice(&frames).unwrap();
            let trace = store.get_trace(trace.trace_id).await.unwrap();
            assert_eq!(answer, json!({"TraceData": {"request_id": {"a": [1]}, "trace": trace}}));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_reads_wait_for_the_budget_and_take_no_more() {
        let store = Arc::new(Endless(FlowTrace::default()));
        let budget = Budget::new(32 << 20);
        let answers: Vec<_> = (0..4)
            .map(|_| {
                let (store, account) = (store.clone(), budget.account().unwrap());
                tokio::spawn(async move { trace_data(&*store, store.0.trace_id, None, &account).await.map(drop) })
            })
            .collect();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            assert!(budget.held() <= 32 << 20, "{}", budget.held());
        }
        assert!(budget.waits().get() > 0);
        // One after the other is ended, until there is room for none of them.
        for answer in answers {
            assert!(matches!(answer.await.unwrap(), Err(StorageError::Unavailable(_))));
        }
    }
}
