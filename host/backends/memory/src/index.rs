//! Sorted indexes of traces, which can be read from any position.

use std::collections::BTreeSet;
use std::mem::size_of;
use std::ops::Bound::{Excluded, Included};

use uuid::Uuid;

use super::size::tree_entry_bytes;
use reflow_tracing_model::{Position, SortOrder, TraceId};

const LEAST_ID: TraceId = TraceId(Uuid::nil());
const GREATEST_ID: TraceId = TraceId(Uuid::max());

/// Start times in nanoseconds since 1970, both included.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub from: i64,
    pub to: i64,
}

/// Traces by key, and per key by start.
pub(super) struct Index<K>(BTreeSet<(K, i64, TraceId)>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Copy + Ord> Index<K> {
    /// The approximate size of an entry.
    pub(super) const ENTRY_BYTES: usize = tree_entry_bytes(size_of::<(K, i64, TraceId)>());

    pub(super) fn insert(&mut self, key: K, at: Position) {
        self.0.insert((key, at.start_time, at.trace_id));
    }

    pub(super) fn remove(&mut self, key: K, at: Position) {
        self.0.remove(&(key, at.start_time, at.trace_id));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn oldest(&self) -> Option<Position> {
        self.0.first().map(position)
    }

    pub(super) fn newest(&self) -> Option<Position> {
        self.0.last().map(position)
    }

    /// The next trace under `key` in this order: after a position, or the first within the bounds.
    pub(super) fn next(&self, key: K, bounds: Bounds, order: SortOrder, after: Option<Position>) -> Option<Position> {
        match order {
            SortOrder::OldestFirst => self.next_newer(key, bounds, after),
            SortOrder::NewestFirst => self.next_older(key, bounds, after),
        }
    }

    fn next_newer(&self, key: K, Bounds { from, to }: Bounds, after: Option<Position>) -> Option<Position> {
        let lower = match after {
            Some(after) if after.start_time > to => return None,
            Some(after) if after.start_time >= from => Excluded((key, after.start_time, after.trace_id)),
            _ => Included((key, from, LEAST_ID)),
        };
        self.0.range((lower, Included((key, to, GREATEST_ID)))).next().map(position)
    }

    /// Ids ascend in this direction too, so each start is entered at its first trace.
    fn next_older(&self, key: K, Bounds { from, to }: Bounds, after: Option<Position>) -> Option<Position> {
        let lower = Included((key, from, LEAST_ID));
        let upper = match after {
            Some(after) if after.start_time < from => return None,
            Some(after) if after.start_time <= to => {
                let start = after.start_time;
                let same_start = (Excluded((key, start, after.trace_id)), Included((key, start, GREATEST_ID)));
                if let Some(next) = self.0.range(same_start).next() {
                    return Some(position(next));
                }
                Excluded((key, start, LEAST_ID))
            }
            _ => Included((key, to, GREATEST_ID)),
        };
        let (_, start, _) = *self.0.range((lower, upper)).next_back()?;
        self.0.range((key, start, LEAST_ID)..).next().map(position)
    }
}

fn position<K>(&(_, start_time, trace_id): &(K, i64, TraceId)) -> Position {
    Position { start_time, trace_id }
}
