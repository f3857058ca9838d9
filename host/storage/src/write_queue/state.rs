//! The waiting writes, and the rules that turn them into batches.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reflow_tracing_model::TraceId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::entry::{Entry, Limits, Room, Size};

/// A waiting write.
pub(super) struct Queued<E: Entry> {
    pub entry: E,
    pub size: Size,
    pub answer: oneshot::Sender<E::Answer>,
    /// Released when this is dropped.
    pub room: Room,
}

/// The state that both ends share.
pub(super) struct Shared<E: Entry> {
    pub limits: Limits,
    state: Mutex<State<E>>,
    /// Wakes workers: there may be a batch, or the queue has ended.
    pub work: Notify,
}

struct State<E: Entry> {
    /// The lanes that are not empty.
    lanes: HashMap<u64, VecDeque<Queued<E>>>,
    /// The same lanes in the order of their turns.
    turns: VecDeque<u64>,
    waiting: Size,
    /// Since when writes have been waiting.
    waits_since: Option<Instant>,
    at_once: usize,
    in_flight: usize,
    /// Batches in flight that are not full.
    small_in_flight: usize,
    traces_in_flight: HashSet<TraceId>,
    /// Whether there will be no more writes.
    is_closed: bool,
}

/// What a worker does next.
pub(super) enum Next<E: Entry> {
    Store(Taken<E>),
    /// Wait for a notification, or until this time.
    Wait(Option<Instant>),
    End,
}

/// A batch that a worker took.
pub(super) struct Taken<E: Entry> {
    pub entries: Vec<Queued<E>>,
    pub traces: Vec<TraceId>,
    pub is_small: bool,
}

impl<E: Entry> Shared<E> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: Size::default(),
            waits_since: None,
            at_once: limits.at_once,
            in_flight: 0,
            small_in_flight: 0,
            traces_in_flight: HashSet::new(),
            is_closed: false,
        };
        Self { limits, state: Mutex::new(state), work: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        // Only methods of an entry could panic during a change, and they must not.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, lane: u64, queued: Queued<E>) {
        let mut state = self.state();
        if state.is_closed {
            // Dropping it answers it.
            return;
        }
        let began = state.waits_since.is_none();
        if began && self.limits.patience.is_some() {
            state.waits_since = Some(Instant::now());
        }
        state.waiting += queued.size;
        let entries = state.lanes.entry(lane).or_default();
        entries.push_back(queued);
        if entries.len() == 1 {
            state.turns.push_back(lane);
        }
        // A worker that can't take a batch yet must start to watch the time.
        let wanted = state.is_due(&self.limits) || (began && self.limits.patience.is_some());
        drop(state);
        if wanted {
            self.work.notify_last();
        }
    }

    /// The size of the waiting writes if a batch is due, so that a worker can see whether more arrive.
    pub(super) fn waiting(&self) -> Option<Size> {
        let state = self.state();
        state.is_due(&self.limits).then_some(state.waiting)
    }

    pub(super) fn next(&self) -> Next<E> {
        let mut state = self.state();
        if let Some(taken) = state.take(&self.limits) {
            let more = state.is_due(&self.limits);
            drop(state);
            if more {
                self.work.notify_last();
            }
            return Next::Store(taken);
        }
        if state.is_closed && state.turns.is_empty() {
            drop(state);
            // Wakes the next worker, which ends too.
            self.work.notify_one();
            return Next::End;
        }
        let has_room = state.in_flight < state.at_once;
        let until = state.waits_since.zip(self.limits.patience).map(|(since, patience)| since + patience);
        // An overdue batch that was not taken waits for its traces, not for a time.
        Next::Wait(until.filter(|until| has_room && *until > Instant::now()))
    }

    /// Records that a batch is stored or was dropped.
    pub(super) fn done(&self, traces: &[TraceId], is_small: bool) {
        let mut state = self.state();
        state.in_flight -= 1;
        state.small_in_flight -= usize::from(is_small);
        for trace_id in traces {
            state.traces_in_flight.remove(trace_id);
        }
        let wanted = state.is_due(&self.limits);
        drop(state);
        if wanted {
            self.work.notify_last();
        }
    }

    pub(super) fn allow_at_once(&self, batches: usize) {
        self.state().at_once = batches.max(1);
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_waiters();
        // For a worker that is about to wait.
        self.work.notify_one();
    }

    /// Drops the waiting writes, which answers them, because no workers are left.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.turns.clear();
        state.waiting = Size::default();
        let lanes = std::mem::take(&mut state.lanes);
        drop(state);
        drop(lanes);
    }
}

impl<E: Entry> State<E> {
    /// Whether a worker may take a batch, apart from traces in flight.
    fn is_due(&self, limits: &Limits) -> bool {
        if self.turns.is_empty() || self.in_flight >= self.at_once {
            return false;
        }
        let is_overdue = || {
            let waits_for = self.waits_since.map(|since| since.elapsed());
            waits_for.zip(limits.patience).is_some_and(|(waits, patience)| waits >= patience)
        };
        self.small_in_flight == 0 || self.waiting.reaches(limits.full) || is_overdue()
    }

    fn take(&mut self, limits: &Limits) -> Option<Taken<E>> {
        if !self.is_due(limits) {
            return None;
        }
        let mut entries = Vec::new();
        let mut size = Size::default();
        let mut traces = Vec::new();
        // Lanes whose first write must wait, and the traces of these writes, which later lanes must not take first.
        let (mut blocked, mut reserved) = (VecDeque::new(), HashSet::new());
        while let Some(lane) = self.turns.pop_front() {
            let writes = self.lanes.get_mut(&lane).expect("a lane whose turn may come is not empty");
            let first = &writes.front().expect("a lane whose turn may come is not empty").entry;
            let is_free = |trace_id| !self.traces_in_flight.contains(&trace_id) && !reserved.contains(&trace_id);
            let is_alone = first.is_alone();
            if !first.traces().all(is_free) || (is_alone && !entries.is_empty()) {
                reserved.extend(first.traces());
                blocked.push_back(lane);
                if is_alone {
                    // It comes before the lanes after it.
                    break;
                }
                continue;
            }
            traces.extend(first.traces());
            let queued = writes.pop_front().expect("it is not empty");
            if writes.is_empty() {
                self.lanes.remove(&lane);
            } else {
                self.turns.push_back(lane);
            }
            self.waiting -= queued.size;
            size += queued.size;
            entries.push(queued);
            if is_alone || size.reaches(limits.batch) {
                break;
            }
        }
        while let Some(lane) = blocked.pop_back() {
            self.turns.push_front(lane);
        }
        if entries.is_empty() {
            return None;
        }
        self.waits_since = (!self.turns.is_empty() && limits.patience.is_some()).then(Instant::now);
        traces.sort_unstable();
        traces.dedup();
        self.traces_in_flight.extend(&traces);
        let is_small = !size.reaches(limits.full);
        self.in_flight += 1;
        self.small_in_flight += usize::from(is_small);
        Some(Taken { entries, traces, is_small })
    }
}
