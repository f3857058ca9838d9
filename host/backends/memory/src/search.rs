//! Plans a query: which traces to examine, in which order, with which conditions.

use super::entry::{Entry, Header};
use super::index::Bounds;
use super::state::State;
use reflow_tracing_model::{ExecutionId, ExecutionStatus, Position, TraceQuery, time};

/// The maximum number of actors whose traces are merged; finding the next trace takes a step for each.
const MAX_MERGED_ACTORS: usize = 16;

/// A query, resolved to the names that were in the store when it began.
pub(super) struct Plan<'a> {
    query: &'a TraceQuery,
    bounds: Bounds,
    source: Source,
    /// The numbers of the actors that match the filter, ascending.
    actors: Option<Vec<u64>>,
}

/// The source of candidates. Every matching trace is in it.
enum Source {
    All,
    Execution(ExecutionId),
    /// The traces of one flow; none if the store doesn't know it.
    Flow(Option<u64>),
    /// The traces with an event of one of these actors.
    Actors(Vec<u64>),
}

impl<'a> Plan<'a> {
    /// The applicable index with the fewest traces.
    pub(super) fn new(state: &State, query: &'a TraceQuery) -> Self {
        let indexes = &state.indexes;
        let (from, to) =
            query.time_range.map_or((i64::MIN, i64::MAX), |(from, to)| (time::nanos(from), time::nanos(to)));
        let mut actors: Option<Vec<_>> =
            query.actor_filter.as_ref().map(|part| indexes.actors.uses_containing(part).collect());

        let mut sources = vec![(indexes.by_start.len(), Source::All)];
        if let Some(flow) = &query.flow_id {
            let flow = indexes.flows.uses(flow.as_str());
            sources.push((flow.map_or(0, |(_, uses)| uses), Source::Flow(flow.map(|(number, _)| number))));
        }
        if let Some(actors) = actors.as_mut().filter(|actors| actors.len() <= MAX_MERGED_ACTORS) {
            let numbers = actors.iter().map(|(number, _)| *number).collect();
            sources.push((actors.iter().map(|(_, uses)| uses).sum(), Source::Actors(numbers)));
        }
        let by_size = |(size, _): &(usize, Source)| *size;
        let source = match query.execution_id {
            // An execution usually has one trace.
            Some(execution) => Source::Execution(execution),
            None => sources.into_iter().min_by_key(by_size).map_or(Source::All, |(_, source)| source),
        };
        let actors = actors.map(|actors| {
            let mut numbers: Vec<_> = actors.into_iter().map(|(number, _)| number).collect();
            numbers.sort_unstable();
            numbers
        });
        Self { query, bounds: Bounds { from, to }, source, actors }
    }

    /// The position of the next candidate.
    pub(super) fn next(&self, state: &State, after: Option<Position>) -> Option<Position> {
        let (indexes, bounds, order) = (&state.indexes, self.bounds, self.query.order);
        match &self.source {
            Source::All => indexes.by_start.next((), bounds, order, after),
            Source::Execution(execution) => indexes.by_execution.next(*execution, bounds, order, after),
            Source::Flow(flow) => indexes.by_flow.next((*flow)?, bounds, order, after),
            Source::Actors(actors) => {
                let next = actors.iter().filter_map(|actor| indexes.by_actor.next(*actor, bounds, order, after));
                next.min_by_key(|at| at.sort_key(order))
            }
        }
    }

    /// Whether the trace matches: equals [`TraceQuery::matches`], computed from the index without reading events.
    pub(super) fn matches(&self, header: &Header, entry: &Entry) -> bool {
        let facts = &entry.facts;
        let failed = matches!(header.trace.status, ExecutionStatus::Failed { .. });
        let takes_part =
            |actors: &Vec<u64>| facts.actors.iter().any(|actor| actors.binary_search(&actor.number).is_ok());
        self.query.matches_header(&header.trace)
            && self.actors.as_ref().is_none_or(takes_part)
            && self.query.event_types.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| facts.kinds.contains(*kind)))
            && self.query.has_error.is_none_or(|wanted| wanted == (failed || facts.has_error))
    }
}
