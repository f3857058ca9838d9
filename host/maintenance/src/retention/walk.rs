use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

use reflow_tracing_model::{ExecutionStatus, FlowTrace, SortOrder, TraceId, TraceQuery};
use reflow_tracing_storage::{PageRequest, StorageBackend, StorageError};

/// Headers per page.
const PAGE: usize = 200;

/// A trace without an end is being written if it had an event within this time.
const IDLE: TimeDelta = TimeDelta::hours(1);

/// Reads the traces of a store once, oldest first, and skips those that are being written.
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
            passed_over: HashSet::new(),
        }
    }

    /// The header of the oldest remaining trace, if it started before `before`.
    pub(super) async fn next(&mut self, before: Option<DateTime<Utc>>) -> Result<Option<FlowTrace>, StorageError> {
        loop {
            if self.read.is_empty() && !self.read_page().await? {
                return Ok(None);
            }
            let is_wanted = |header: &mut FlowTrace| before.is_none_or(|before| header.start_time < before);
            let Some(header) = self.read.pop_front_if(is_wanted) else { return Ok(None) };
            if !self.is_being_written(&header).await? {
                return Ok(Some(header));
            }
            self.passed_over.insert(header.trace_id);
        }
    }

    /// The skipped traces.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over.len() as u64
    }

    /// Starts again at the oldest trace, because many of those read may be deleted.
    pub(super) fn restart(&mut self) {
        self.read.clear();
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
        let is_recent = |time: DateTime<Utc>| self.now - time < IDLE;
        if is_recent(header.start_time) {
            return Ok(true);
        }
        // In their order, so the last one is the newest.
        let events = self.storage.stream_events(header.trace_id);
        let newest = events.try_fold(None, async |_, event| Ok(Some(event.timestamp))).await?;
        Ok(newest.is_some_and(is_recent))
    }
}
