//! The events of one trace.

use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Arc;

use hashlink::DefaultHashBuilder;

use super::size::{ARC_BYTES, pack_event, table_bytes};
use reflow_tracing_model::{EventKey, TraceEvent};

/// A segment of events. Writers may append to it while no reader shares it.
type Segment = Arc<Vec<TraceEvent>>;

/// The maximum capacity of a segment, unless more events come at once: unused capacity stays under 120 KB.
const SEGMENT_EVENTS: usize = 256;

/// The events of a trace in order of arrival, without duplicates.
///
/// They are stored in segments that are shared as a whole: a reader takes pointers, never events. A writer that finds the last
/// segment full or shared starts another one, twice as large, so that growing copies no event.
#[derive(Default)]
pub(super) struct Events {
    segments: Vec<Segment>,
    keys: HashSet<EventKey, DefaultHashBuilder>,
    segment_bytes: usize,
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn has(&self, key: EventKey) -> bool {
        self.keys.contains(&key)
    }

    /// Adds the new events, and calls `added` with each.
    pub(super) fn add(
        &mut self,
        events: impl ExactSizeIterator<Item = TraceEvent>,
        mut added: impl FnMut(&TraceEvent),
    ) {
        let most = events.len();
        let mut new = events.filter(|event| self.keys.insert(event.key()));
        let Some(first) = new.next() else { return };
        let segment_bytes = &mut self.segment_bytes;
        let segment = segment_with_room(&mut self.segments, most, segment_bytes);
        std::iter::once(first).chain(new).for_each(|mut event| {
            added(&event);
            *segment_bytes += pack_event(&mut event);
            segment.push(event);
        });
    }

    pub(super) fn share(&self) -> SharedEvents {
        SharedEvents(self.segments.clone())
    }

    /// Their size, in O(1).
    pub(super) fn bytes(&self) -> usize {
        self.segment_bytes
            + self.segments.capacity() * size_of::<Segment>()
            + table_bytes(self.keys.capacity(), size_of::<EventKey>())
    }
}

/// The last segment if it is not shared and has capacity for this many events, otherwise a new one.
fn segment_with_room<'a>(segments: &'a mut Vec<Segment>, events: usize, bytes: &mut usize) -> &'a mut Vec<TraceEvent> {
    let grown = segments.last().map_or(0, |last| (last.len() * 2).min(SEGMENT_EVENTS));
    let mut has_room = false;
    if let Some(last) = segments.last_mut().and_then(Arc::get_mut) {
        has_room = last.capacity() - last.len() >= events;
        if !has_room {
            *bytes -= last.capacity() * size_of::<TraceEvent>();
            last.shrink_to_fit();
            *bytes += last.capacity() * size_of::<TraceEvent>();
        }
    }
    if !has_room {
        let room = events.max(grown);
        segments.push(Arc::new(Vec::with_capacity(room)));
        *bytes += ARC_BYTES + size_of::<Vec<TraceEvent>>() + room * size_of::<TraceEvent>();
    }
    segments.last_mut().and_then(Arc::get_mut).expect("the last segment is new or was seen to be shared by nobody")
}

/// A snapshot of the events of a trace.
pub(super) struct SharedEvents(Vec<Segment>);

impl SharedEvents {
    /// Copies them one by one, ordered by (timestamp, event id). The order takes eight bytes per event.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = TraceEvent> + Send {
        let Self(segments) = self;
        let places = segments.iter().enumerate().flat_map(|(segment, events)| {
            // Neither count reaches 2^32: an event takes some hundred bytes.
            (0..events.len()).map(move |event| (segment as u32, event as u32))
        });
        let mut order: Vec<_> = places.collect();
        order.sort_by_key(|(segment, event)| segments[*segment as usize][*event as usize].key());
        order.into_iter().map(move |(segment, event)| segments[segment as usize][event as usize].clone())
    }

    /// Copies them, ordered by (timestamp, event id).
    pub(super) fn to_sorted(&self) -> Vec<TraceEvent> {
        let mut events: Vec<_> = self.0.iter().flat_map(|segment| segment.iter()).collect();
        // A stable sort, because it is faster for sorted input, which events usually are.
        events.sort_by_key(|event| event.key());
        events.into_iter().cloned().collect()
    }
}
