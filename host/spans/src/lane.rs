//! One actor: the messages to it and the ends of its activations, matched first in, first out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use reflow_tracing_model::{EventId, EventKey};

/// A message to the actor.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub from: u32,
    pub from_port: Option<u32>,
    pub to_port: u32,
    pub bytes: u64,
    pub parent: Option<EventId>,
}

/// An end of one of the actor's activations.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub parent: Option<EventId>,
    pub execution_ns: Option<u64>,
    pub failed: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Mark {
    Arrival(Arrival),
    End(End),
}

/// An activation: the keys of its message and of its end, of which it has at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub arrival: Option<EventKey>,
    pub end: Option<EventKey>,
}

impl Slot {
    /// What activations are ordered by: a message comes after what produced it.
    pub(crate) fn key(&self) -> EventKey {
        self.arrival.or(self.end).expect("it has a message or an end")
    }
}

/// The marks of an actor, and what follows from those that were taken so far.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    marks: BTreeMap<EventKey, Mark>,
    /// The last mark that was taken.
    taken: Option<EventKey>,
    matched: Matched,
}

/// What follows from marks.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// In the order of their first marks.
    pub slots: Vec<Slot>,
    /// The ends in their order, and which activation they ended.
    pub ends: Vec<(EventKey, usize)>,
    /// The activations of messages and ends, by event.
    by_event: HashMap<EventId, usize>,
    /// Activations that may be open, the oldest first. Some have ended already.
    open: VecDeque<usize>,
}

impl Lane {
    /// Adds a mark. Returns false if it is there already.
    pub(crate) fn add(&mut self, key: EventKey, mark: Mark) -> bool {
        let mut is_new = false;
        self.marks.entry(key).or_insert_with(|| {
            is_new = true;
            mark
        });
        // It came too late: what follows from the marks after it may change.
        if is_new && self.taken.is_some_and(|taken| key < taken) {
            self.taken = None;
            self.matched = Matched::default();
        }
        is_new
    }

    /// Takes the marks that were added since the last call.
    pub(crate) fn match_marks(&mut self) -> &Matched {
        let after = self.taken.map_or(Bound::Unbounded, Bound::Excluded);
        for (&key, mark) in self.marks.range((after, Bound::Unbounded)) {
            self.matched.take(key, mark);
            self.taken = Some(key);
        }
        &self.matched
    }

    /// What [`match_marks`](Self::match_marks) has found.
    pub(crate) fn matched(&self) -> &Matched {
        &self.matched
    }

    pub(crate) fn arrival(&self, key: EventKey) -> Option<&Arrival> {
        match self.marks.get(&key) {
            Some(Mark::Arrival(arrival)) => Some(arrival),
            _ => None,
        }
    }

    pub(crate) fn end(&self, key: EventKey) -> Option<&End> {
        match self.marks.get(&key) {
            Some(Mark::End(end)) => Some(end),
            _ => None,
        }
    }
}

impl Matched {
    fn take(&mut self, key: EventKey, mark: &Mark) {
        let index = self.slots.len();
        match mark {
            Mark::Arrival(_) => {
                self.slots.push(Slot { arrival: Some(key), end: None });
                self.open.push_back(index);
                self.by_event.insert(key.1, index);
            }
            Mark::End(end) => {
                let ended = self.named(end.parent).or_else(|| self.oldest_open());
                let ended = ended.unwrap_or_else(|| {
                    self.slots.push(Slot { arrival: None, end: None });
                    index
                });
                self.slots[ended].end = Some(key);
                self.ends.push((key, ended));
                self.by_event.insert(key.1, ended);
            }
        }
    }

    /// The open activation whose message an end names.
    fn named(&self, parent: Option<EventId>) -> Option<usize> {
        let index = *self.by_event.get(&parent?)?;
        self.slots[index].end.is_none().then_some(index)
    }

    fn oldest_open(&mut self) -> Option<usize> {
        while let Some(index) = self.open.pop_front() {
            if self.slots[index].end.is_none() {
                return Some(index);
            }
        }
        None
    }

    /// The activation of a message or an end.
    pub(crate) fn of_event(&self, id: EventId) -> Option<usize> {
        self.by_event.get(&id).copied()
    }

    /// The latest activation that had ended before `key`; if none had, the first one that had begun.
    pub(crate) fn ended_before(&self, key: EventKey) -> Option<usize> {
        let ended = self.ends.partition_point(|(end, _)| *end < key);
        match ended.checked_sub(1) {
            Some(last) => Some(self.ends[last].1),
            None => self.slots.first().is_some_and(|slot| slot.key() < key).then_some(0),
        }
    }

    /// The activation that an event of the actor belongs to: that which ends next, if it had begun; else the oldest open one.
    pub(crate) fn during(&self, key: EventKey) -> Option<usize> {
        let next = self.ends.partition_point(|(end, _)| *end < key);
        let has_begun = |index: &usize| self.slots[*index].key() <= key;
        let ends_next = self.ends.get(next).map(|(_, index)| *index).filter(has_begun);
        let open = || self.open.iter().copied().find(|index| self.slots[*index].end.is_none()).filter(has_begun);
        ends_next.or_else(open)
    }
}
