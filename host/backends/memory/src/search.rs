//! How a query is answered: which traces are looked at, in which order, and what is asked of each.

use super::entry::{Entry, Header};
use super::index::Bounds;
use super::state::State;
use reflow_tracing_model::{ExecutionId, ExecutionStatus, Position, TraceQuery, time};

/// The most actors whose traces are looked at in turn; finding the next one takes a step for each of them.
const MAX_MERGED_ACTORS: usize = 16;

/// A query, made ready for the names that were in the store when it began.
pub(super) struct Plan<'a> {
    query: &'a TraceQuery,
    bounds: Bounds,
    source: Source,
    /// The numbers of the actors that the filter lets pass, ascending.
    actors: Option<Vec<u64>>,
}

/// Where the traces come from. None matches that is not in it.
enum Source {
    All,
    Execution(ExecutionId),
    /// Those of one flow; of none, when the store doesn't know it.
    Flow(Option<u64>),
    /// Those in which one of these actors takes part.
    Actors(Vec<u64>),
}

impl<'a> Plan<'a> {
    /// Of the indexes that apply, the one with the fewest traces.
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
            // An execution has a trace, seldom more.
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

    /// The place of the next trace to look at.
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

    /// Whether the trace is asked for: what [`TraceQuery::matches`] says, from what is known without looking at events.
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
