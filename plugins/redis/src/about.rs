//! What the events of a trace are about: the set `about:ID`, so that a query needs no event.
//!
//! Its members are `a` and an actor's id, `k` and the name of a kind, and `e1` when an event carries an error (`e0`: when one
//! carries none).

use reflow_tracing_plugin::redis::{Template, field, fixed, present};
use reflow_tracing_plugin::{StorageError, TraceQuery};

/// Adds what an event is about.
pub fn remember() -> Template {
    Template::new("SADD")
        .arg([fixed("about:"), field("trace-id")])
        .arg([fixed("a"), field("actor-id")])
        .arg([fixed("k"), field("event-type")])
        .arg([fixed("e"), present("error")])
}

/// Whether the query asks about events.
pub fn is_asked_for(query: &TraceQuery) -> bool {
    query.actor.is_some() || query.event_types.is_some() || query.has_error.is_some()
}

/// Whether a trace is asked for, as far as its events tell. `failed`: whether its header says so.
pub fn matches(members: &[Vec<u8>], failed: bool, query: &TraceQuery) -> Result<bool, StorageError> {
    let members: Vec<&str> = members
        .iter()
        .map(|member| str::from_utf8(member))
        .collect::<Result<_, _>>()
        .map_err(|error| StorageError::other(format!("a key `about:..` holds something else: {error}")))?;
    let actors = || members.iter().filter_map(|member| member.strip_prefix('a'));
    let kinds = || members.iter().filter_map(|member| member.strip_prefix('k'));
    let has_error = || failed || members.contains(&"e1") || members.contains(&"kActorFailed");
    Ok(query.actor.as_ref().is_none_or(|part| actors().any(|actor| actor.contains(part.as_str())))
        && query.event_types.as_ref().is_none_or(|wanted| kinds().any(|kind| wanted.iter().any(|name| name == kind)))
        && query.has_error.is_none_or(|wanted| wanted == has_error()))
}
