use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use reflow_tracing_model::{ExecutionStatus, FlowTrace, SortOrder, TraceId, TraceQuery};
use reflow_tracing_storage::{PageRequest, StorageBackend, StorageError};

/// Headers per page.
const PAGE: usize = 200;

/// A trace without an end is being written if it had an event within this time.
const IDLE: TimeDelta = TimeDelta::hours(1);

/// A trace that starts later than this from now has a start that can't be right.
const FUTURE: TimeDelta = TimeDelta::days(1);

/// Traces with the time when they were received; the earliest is the greatest.
type Received = BinaryHeap<Reverse<(DateTime<Utc>, TraceId)>>;

/// Reads the traces of a store once, oldest first, and skips those that are being written. A trace whose own times can't be right
/// is as old as the time when a host received it ([`FlowTrace::received_at`]).
///
/// The returned traces are deleted, or would be, so each bound of a policy continues where the one before it stopped, in a dry
/// run too.
pub(super) struct Walk<'a> {
    storage: &'a dyn StorageBackend,
    now: DateTime<Utc>,
    read: VecDeque<FlowTrace>,
    /// The position to continue from; `None` at the start.
    page_token: Option<String>,
    is_read_to_the_end: bool,
    /// Those of the traces read whose own times can't be right. `None` until those that start in the future are known.
    received: Option<Received>,
    passed_over: HashSet<TraceId>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(storage: &'a dyn StorageBackend, now: DateTime<Utc>) -> Self {
        Self {
            storage,
            now,
            read: VecDeque::new(),
            page_token: None,
            is_read_to_the_end: false,
            received: None,
            passed_over: HashSet::new(),
        }
    }

    /// The header of the oldest remaining trace, if it is from before `before`.
    pub(super) async fn next(&mut self, before: Option<DateTime<Utc>>) -> Result<Option<FlowTrace>, StorageError> {
        let mut received = match self.received.take() {
            Some(received) => received,
            None => self.future().await?,
        };
        let next = self.next_of(&mut received, before).await;
        self.received = Some(received);
        next
    }

    async fn next_of(
        &mut self,
        received: &mut Received,
        before: Option<DateTime<Utc>>,
    ) -> Result<Option<FlowTrace>, StorageError> {
        loop {
            if self.read.is_empty() {
                self.read_page().await?;
            }
            let front = self.read.front().map(|header| header.start_time);
            let first_received = received.peek().map(|Reverse((at, _))| *at);
            let Some(oldest) = front.into_iter().chain(first_received).min() else { return Ok(None) };
            if before.is_some_and(|before| oldest >= before) {
                return Ok(None);
            }
            let header = if front == Some(oldest) {
                let Some(header) = self.read.pop_front() else { continue };
                match header.received_at() {
                    None => header,
                    Some(at) => {
                        if !self.is_future(&header) {
                            received.push(Reverse((at, header.trace_id)));
                        }
                        continue;
                    }
                }
            } else {
                let Some(Reverse((_, trace_id))) = received.pop() else { continue };
                let Some(header) = self.storage.get_headers(vec![trace_id]).await?.pop().flatten() else { continue };
                header
            };
            if !self.is_being_written(&header).await? {
                return Ok(Some(header));
            }
            self.passed_over.insert(header.trace_id);
        }
    }

    fn is_future(&self, header: &FlowTrace) -> bool {
        header.start_time > self.now + FUTURE
    }

    /// The traces that start in the future, but were received at a time that is known.
    async fn future(&self) -> Result<Received, StorageError> {
        let mut received = BinaryHeap::new();
        let mut page_token = None;
        loop {
            let query = TraceQuery {
                time_range: Some((self.now + FUTURE, DateTime::from_timestamp_nanos(i64::MAX))),
                limit: Some(PAGE),
                page_token,
                ..TraceQuery::default()
            };
            let page = self.storage.query_page(PageRequest::headers(query)).await?;
            let known = page.traces.iter().filter(|header| self.is_future(header));
            received.extend(known.filter_map(|header| Some(Reverse((header.received_at()?, header.trace_id)))));
            page_token = page.next_page_token;
            if page_token.is_none() {
                return Ok(received);
            }
        }
    }

    /// The skipped traces.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over.len() as u64
    }

    /// Starts again at the oldest trace, because many of those read may be deleted.
    pub(super) fn restart(&mut self) {
        self.read.clear();
        self.received = None;
        self.page_token = None;
        self.is_read_to_the_end = false;
    }

    /// Returns whether there was another page.
    async fn read_page(&mut self) -> Result<bool, StorageError> {
        while self.read.is_empty() && !self.is_read_to_the_end {
            let query = TraceQuery {
                order: SortOrder::OldestFirst,
                limit: Some(PAGE),
                page_token: self.page_token.take(),
                ..TraceQuery::default()
            };
            let page = self.storage.query_page(PageRequest::headers(query)).await?;
            self.is_read_to_the_end = page.next_page_token.is_none();
            self.page_token = page.next_page_token;
            self.read = page.traces.into();
        }
        Ok(!self.read.is_empty())
    }

    async fn is_being_written(&self, header: &FlowTrace) -> Result<bool, StorageError> {
        let open = matches!(header.status, ExecutionStatus::Pending | ExecutionStatus::Running);
        if header.end_time.is_some() || !open {
            return Ok(false);
        }
        // A time in the future says nothing.
        let is_recent = |time: DateTime<Utc>| (self.now - time).abs() < IDLE;
        if is_recent(header.received_at().unwrap_or(header.start_time)) {
            return Ok(true);
        }
        // Any of them: one whose time is in the future comes after those of a moment ago.
        let mut events = self.storage.stream_events(header.trace_id);
        while let Some(event) = events.try_next().await? {
            if is_recent(event.timestamp) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
