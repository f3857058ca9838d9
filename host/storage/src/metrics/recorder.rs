//! Counts and times calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::durations::{Durations, histogram};
use super::report::{CallMetrics, StorageMetrics};
use crate::StorageError;
use crate::layer::{Call, Purpose};

/// The error kind of a call that its caller cancelled.
const ABANDONED: &str = "abandoned";

/// Statistics of all calls to a backend since it was opened.
#[derive(Default)]
pub(super) struct Recorder {
    calls: [CallStatistics; Call::ALL.len()],
    traces_stored: AtomicU64,
    events_stored: AtomicU64,
}

#[derive(Default)]
struct CallStatistics {
    durations: Durations,
    /// One for each of [`StorageError::KINDS`].
    errors: [AtomicU64; StorageError::KINDS.len()],
    abandoned: AtomicU64,
}

impl Recorder {
    pub(super) fn begin(&self, call: Call) -> Timed<'_> {
        Timed { statistics: &self.calls[call as usize], start: Instant::now(), ended: false }
    }

    /// Counts an error that came after the call was timed, in a stream.
    pub(super) fn failed(&self, call: Call, error: &StorageError) {
        self.calls[call as usize].failed(error);
    }

    pub(super) fn stored(&self, traces: usize, events: usize) {
        self.traces_stored.fetch_add(traces as u64, Relaxed);
        self.events_stored.fetch_add(events as u64, Relaxed);
    }

    pub(super) fn report(&self, storage_bytes: Option<u64>) -> StorageMetrics {
        let of = |purpose| self.of(|call| call.purpose() == purpose);
        let (writes, reads, queries) = (of(Purpose::Write), of(Purpose::Read), of(Purpose::Query));
        let calls = Call::ALL.iter().copied().filter(|call| self.calls[*call as usize].was_called());
        StorageMetrics {
            avg_write_latency_ms: writes.avg_ms,
            avg_read_latency_ms: reads.avg_ms,
            avg_query_latency_ms: queries.avg_ms,
            writes,
            reads,
            queries,
            deletes: of(Purpose::Delete),
            calls: calls.map(|call| (call.name().to_owned(), self.of(|other| other == call))).collect(),
            traces_stored: self.traces_stored.load(Relaxed),
            events_stored: self.events_stored.load(Relaxed),
            ..StorageMetrics::unmeasured(storage_bytes)
        }
    }

    /// The sum over the calls for which `wanted` holds.
    fn of(&self, wanted: impl Fn(Call) -> bool) -> CallMetrics {
        let mut durations = histogram();
        let mut errors = BTreeMap::new();
        for statistics in Call::ALL.iter().copied().filter(|call| wanted(*call)).map(|call| &self.calls[call as usize])
        {
            statistics.durations.add_to(&mut durations);
            let kinds =
                StorageError::KINDS.into_iter().zip(&statistics.errors).chain([(ABANDONED, &statistics.abandoned)]);
            for (kind, count) in kinds.map(|(kind, count)| (kind, count.load(Relaxed))).filter(|(_, count)| *count > 0)
            {
                *errors.entry(kind.to_owned()).or_default() += count;
            }
        }
        CallMetrics::new(&durations, errors)
    }
}

impl CallStatistics {
    fn failed(&self, error: &StorageError) {
        let kind = error.kind();
        if let Some(index) = StorageError::KINDS.into_iter().position(|other| other == kind) {
            self.errors[index].fetch_add(1, Relaxed);
        }
    }

    fn was_called(&self) -> bool {
        self.durations.lock().is_some()
    }
}

/// A call in progress. If it is dropped before it ended, it counts as abandoned, so that a backend that hangs is visible.
pub(super) struct Timed<'a> {
    statistics: &'a CallStatistics,
    start: Instant,
    ended: bool,
}

impl Timed<'_> {
    pub(super) fn end(mut self, error: Option<&StorageError>) {
        self.ended = true;
        self.statistics.durations.record(self.start.elapsed());
        if let Some(error) = error {
            self.statistics.failed(error);
        }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.statistics.durations.record(self.start.elapsed());
            self.statistics.abandoned.fetch_add(1, Relaxed);
        }
    }
}
