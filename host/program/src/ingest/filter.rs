//! Which events a subscriber wants.

use std::collections::HashSet;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::live::LiveEvent;
use reflow_tracing::storage::StorageError;
use reflow_tracing::{ExecutionStatus, FlowId, TraceEventType};

/// The most values that the filters of a subscription may have together.
pub const MAX_VALUES: usize = 10_000;

/// The same in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Which events a subscriber wants. What is `None` does not narrow; what is present must hold, all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionFilters {
    /// Events of these flows.
    pub flow_ids: Option<Vec<FlowId>>,
    /// Events of these actors.
    pub actor_ids: Option<Vec<String>>,
    /// Events of these types. In `DataFlow` an empty actor or port stands for any.
    pub event_types: Option<Vec<TraceEventType>>,
    /// Events of traces that stand so. `Failed` with an empty error stands for any failure.
    pub status_filter: Option<Vec<ExecutionStatus>>,
}

/// The same, made to be asked about every event: the time does not depend on the number of values.
#[derive(Debug, Default)]
pub(super) struct Filter {
    flows: Option<HashSet<FlowId>>,
    actors: Option<HashSet<String>>,
    types: Option<HashSet<TraceEventType>>,
    /// Whether a type stands for several.
    has_wildcards: bool,
    statuses: Option<HashSet<ExecutionStatus>>,
}

impl SubscriptionFilters {
    /// What the values take of memory, about.
    pub(super) fn bytes(&self) -> usize {
        /// A slot of a hash table.
        const SLOT: usize = 100;
        let flows = self.flow_ids.iter().flatten().map(|flow| flow.as_str().len());
        let actors = self.actor_ids.iter().flatten().map(String::len);
        let types = self.event_types.iter().flatten().map(|event_type| match event_type {
            TraceEventType::DataFlow { to_actor, to_port } => to_actor.len() + to_port.len(),
            _ => 0,
        });
        let statuses = self.status_filter.iter().flatten().map(|status| status.error().map_or(0, str::len));
        flows.chain(actors).chain(types).chain(statuses).map(|length| SLOT + length).sum()
    }

    fn values(&self) -> usize {
        let Self { flow_ids, actor_ids, event_types, status_filter } = self;
        let count = [
            flow_ids.as_ref().map_or(0, Vec::len),
            actor_ids.as_ref().map_or(0, Vec::len),
            event_types.as_ref().map_or(0, Vec::len),
            status_filter.as_ref().map_or(0, Vec::len),
        ];
        count.into_iter().sum()
    }
}

impl TryFrom<SubscriptionFilters> for Filter {
    type Error = StorageError;

    fn try_from(filters: SubscriptionFilters) -> Result<Self, StorageError> {
        let (values, bytes) = (filters.values(), filters.bytes());
        let remedy = "subscribe to fewer, or to all, and choose among what comes";
        if values > MAX_VALUES {
            return Err(StorageError::InvalidArgument(format!(
                "the filters of Subscribe have {values} values; together they may have {MAX_VALUES}: {remedy}"
            )));
        }
        if bytes > MAX_BYTES + MAX_VALUES * 100 {
            return Err(StorageError::InvalidArgument(format!(
                "the values of the filters of Subscribe are longer than {} MiB together: {remedy}",
                MAX_BYTES >> 20
            )));
        }
        let is_wildcard = |event_type: &TraceEventType| match event_type {
            TraceEventType::DataFlow { to_actor, to_port } => to_actor.is_empty() || to_port.is_empty(),
            _ => false,
        };
        Ok(Self {
            has_wildcards: filters.event_types.iter().flatten().any(is_wildcard),
            flows: set(filters.flow_ids),
            actors: set(filters.actor_ids),
            types: set(filters.event_types),
            statuses: set(filters.status_filter),
        })
    }
}

fn set<T: Eq + Hash>(values: Option<Vec<T>>) -> Option<HashSet<T>> {
    values.map(|values| values.into_iter().collect())
}

impl Filter {
    /// Whether the event is wanted.
    pub(super) fn matches(&self, live: &LiveEvent) -> bool {
        let Self { flows, actors, types, has_wildcards, statuses } = self;
        flows.as_ref().is_none_or(|flows| live.flow_id.as_ref().is_some_and(|flow| flows.contains(flow)))
            && actors.as_ref().is_none_or(|actors| actors.contains(&live.event.actor_id))
            && types.as_ref().is_none_or(|types| {
                let event_type = &live.event.event_type;
                types.contains(event_type) || (*has_wildcards && wildcards(event_type).any(|any| types.contains(&any)))
            })
            && statuses.as_ref().is_none_or(|statuses| {
                let any_failure = || ExecutionStatus::Failed { error: String::new() };
                statuses.contains(&live.status) || (live.status.error().is_some() && statuses.contains(&any_failure()))
            })
    }
}

/// The types that stand for this one and others.
fn wildcards(event_type: &TraceEventType) -> impl Iterator<Item = TraceEventType> {
    let flow = match event_type {
        TraceEventType::DataFlow { to_actor, to_port } => Some((to_actor, to_port)),
        _ => None,
    };
    flow.into_iter().flat_map(|(to_actor, to_port)| {
        let with = |to_actor: &str, to_port: &str| TraceEventType::DataFlow {
            to_actor: to_actor.to_owned(),
            to_port: to_port.to_owned(),
        };
        [with(to_actor, ""), with("", to_port), with("", "")]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::live::tests::event;

    #[test]
    fn filters_narrow_by_flow_actor_type_and_status_together() {
        let flow = |id| SubscriptionFilters { flow_ids: Some(vec![FlowId::new(id)]), ..Default::default() };
        let actor = |id: &str| SubscriptionFilters { actor_ids: Some(vec![id.into()]), ..Default::default() };
        let kind = |event_type| SubscriptionFilters { event_types: Some(vec![event_type]), ..Default::default() };
        let to =
            |actor: &str, port: &str| kind(TraceEventType::DataFlow { to_actor: actor.into(), to_port: port.into() });
        let status = |status| SubscriptionFilters { status_filter: Some(vec![status]), ..Default::default() };
        let failed = |error: &str| status(ExecutionStatus::Failed { error: error.into() });
        for (filters, wanted) in [
            (SubscriptionFilters::default(), true),
            (flow("f"), true),
            (flow("g"), false),
            (actor("a"), true),
            (actor("A"), false),
            (to("b", "in"), true),
            (to("", ""), true),
            (to("b", ""), true),
            (to("", "in"), true),
            (to("b", "other"), false),
            (to("", "other"), false),
            (kind(TraceEventType::MessageSent), false),
            (failed("e"), true),
            (failed(""), true),
            (failed("other"), false),
            (status(ExecutionStatus::Running), false),
            (SubscriptionFilters { actor_ids: Some(vec!["z".into()]), ..flow("f") }, false),
            (SubscriptionFilters { actor_ids: Some(vec![]), ..Default::default() }, false),
        ] {
            assert_eq!(Filter::try_from(filters.clone()).unwrap().matches(&event()), wanted, "{filters:?}");
        }
    }

    #[test]
    fn filters_are_bounded_in_number_and_in_bytes() {
        let actors = |number: usize, length: usize| SubscriptionFilters {
            actor_ids: Some((0..number).map(|number| format!("{number}{}", "x".repeat(length))).collect()),
            ..Default::default()
        };
        Filter::try_from(actors(MAX_VALUES, 10)).unwrap();
        for (filters, reason) in [(actors(MAX_VALUES + 1, 10), "10001 values"), (actors(3, MAX_BYTES), "1 MiB")] {
            let error = Filter::try_from(filters).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
