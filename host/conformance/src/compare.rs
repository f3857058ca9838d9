//! Comparisons that report briefly where two values differ.

use std::fmt::{Debug, Display};

use serde::Serialize;
use serde_json::Value;

use super::{Failure, Outcome};
use reflow_tracing_model::FlowTrace;

/// The maximum length of a value in a message, in characters.
const SHOWN: usize = 160;

/// Fails unless `found` equals `expected`. The message starts with the first difference.
#[track_caller]
pub(super) fn same<T>(what: impl Display, found: &T, expected: &T) -> Outcome
where
    T: PartialEq + Debug + Serialize + ?Sized,
{
    if found == expected {
        return Ok(());
    }
    let place = match (serde_json::to_value(found), serde_json::to_value(expected)) {
        (Ok(found), Ok(expected)) => difference(&found, &expected, String::new()),
        _ => None,
    };
    Err(Failure::here(match place {
        Some((path, found, expected)) if path.is_empty() => format!("{what}: expected {expected}, found {found}"),
        Some((path, found, expected)) => format!("{what}: expected {path} to be {expected}, found {found}"),
        None => format!("{what}: expected {}, found {}", brief(expected), brief(found)),
    }))
}

/// The same for lists of traces: compares ids and order first.
#[track_caller]
pub(super) fn same_traces(what: impl Display, found: &[FlowTrace], expected: &[FlowTrace]) -> Outcome {
    let ids = |traces: &[FlowTrace]| traces.iter().map(|trace| trace.trace_id.to_string()).collect::<Vec<_>>();
    let (found_ids, expected_ids) = (ids(found), ids(expected));
    if found_ids != expected_ids {
        return Err(Failure::here(format_args!(
            "{what}: expected {} traces {}, found {} traces {}",
            expected_ids.len(),
            brief(&expected_ids),
            found_ids.len(),
            brief(&found_ids),
        )));
    }
    same(what, found, expected)
}

/// The first difference between two trees: path, left, right.
fn difference(left: &Value, right: &Value, path: String) -> Option<(String, String, String)> {
    match (left, right) {
        (Value::Array(lefts), Value::Array(rights)) if lefts.len() == rights.len() => lefts
            .iter()
            .zip(rights)
            .enumerate()
            .find_map(|(index, (left, right))| difference(left, right, format!("{path}[{index}]"))),
        (Value::Object(lefts), Value::Object(rights)) if lefts.keys().eq(rights.keys()) => {
            lefts.iter().find_map(|(name, left)| difference(left, rights.get(name)?, format!("{path}.{name}")))
        }
        (Value::Array(lefts), Value::Array(rights)) => {
            let shown = |values: &[Value]| format!("{} elements {}", values.len(), brief(values));
            Some((path, shown(lefts), shown(rights)))
        }
        _ if left == right => None,
        _ => Some((path, brief(left), brief(right))),
    }
}

fn brief(value: &(impl Debug + ?Sized)) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}
