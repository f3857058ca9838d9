//! A summary of a trace's events: the set `about:ID`, so that a query does not read events.
//!
//! Its members are `a` and an actor id, `k` and the name of a kind, `e1` for an event with an error, and `e0` for one without.

use std::collections::{BTreeMap, BTreeSet};

use reflow_tracing_plugin::redis::{Command, Reply, Template, field, fixed, present};
use reflow_tracing_plugin::{Column, EventBatch, Result, StorageError, Texts, TraceQuery, Uuid};

use crate::key;

/// Events of this kind are failures, with or without an error.
const FAILURE: &str = "ActorFailed";

/// Adds an event to the summary.
pub fn remember() -> Template {
    Template::new("SADD")
        .arg([fixed("about:"), field("trace-id")])
        .arg([fixed("a"), field("actor-id")])
        .arg([fixed("k"), field("event-type")])
        .arg([fixed("e"), present("error")])
}

/// Reads the summary, for [`About::of`].
pub fn read(id: Uuid) -> Command {
    Command::new("SMEMBERS").arg(key::about(id))
}

/// Reads whether an event of the trace has an error.
pub fn read_error(id: Uuid) -> Command {
    Command::new("SISMEMBER").arg(key::about(id)).arg("e1")
}

/// Whether the query has a predicate on events.
pub fn is_needed_for(query: &TraceQuery) -> bool {
    query.actor.is_some() || query.event_types.is_some() || query.has_error.is_some()
}

/// The summary of a trace's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    pub actors: BTreeSet<String>,
    pub kinds: BTreeSet<String>,
    /// Whether an event has an error.
    pub error: bool,
}

impl About {
    /// Parses the content of `about:ID`.
    pub fn of(reply: Reply) -> Result<Self> {
        let mut about = Self::default();
        for member in reply.into_elements() {
            let member = member.into_bytes().and_then(|bytes| String::from_utf8(bytes).ok());
            let damaged = || StorageError::other("a key `about:..` has unexpected content");
            let member = member.ok_or_else(damaged)?;
            match member.split_at_checked(1).ok_or_else(damaged)? {
                ("a", actor) => _ = about.actors.insert(actor.into()),
                ("k", kind) => _ = about.kinds.insert(kind.into()),
                ("e", error) => about.error |= error == "1",
                _ => return Err(damaged()),
            }
        }
        Ok(about)
    }

    /// The summary of a batch, by trace, without `error`: in a column, an empty error looks like none.
    pub fn of_each_trace(events: &EventBatch) -> Result<BTreeMap<(u64, u64), Self>> {
        let columns = ["trace-id", "actor-id", "event-type"].map(str::to_owned);
        let columns = events.columns(&columns).map_err(StorageError::other)?;
        let Ok([Column::Uuids(ids), Column::Texts(actors), Column::Texts(kinds)]) = <[Column; 3]>::try_from(columns)
        else {
            return Err(StorageError::other("the host returned columns of unexpected types"));
        };
        let mut abouts = BTreeMap::<_, Self>::new();
        let ids = ids.chunks_exact(2).map(|halves| (halves[0], halves[1]));
        for ((id, actor), kind) in ids.zip(each(&actors)).zip(each(&kinds)) {
            let about = abouts.entry(id).or_default();
            for (known, new) in [(&mut about.actors, actor), (&mut about.kinds, kind)] {
                if !known.contains(new) {
                    known.insert(new.to_owned());
                }
            }
        }
        Ok(abouts)
    }

    /// Whether the events show a failure.
    pub fn has_failed(&self) -> bool {
        self.error || self.kinds.contains(FAILURE)
    }

    /// Whether the trace matches the predicates on events. `failed` says whether its header shows a failure.
    pub fn matches(&self, failed: bool, query: &TraceQuery) -> bool {
        query.actor.as_ref().is_none_or(|part| self.actors.iter().any(|actor| actor.contains(part.as_str())))
            && query.event_types.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| self.kinds.contains(kind)))
            && query.has_error.is_none_or(|wanted| wanted == (failed || self.has_failed()))
    }
}

/// The texts of a column.
fn each(texts: &Texts) -> impl Iterator<Item = &str> {
    texts.ends.iter().scan(0, |start, &end| {
        let text = texts.text.get(*start..end as usize);
        *start = end as usize;
        Some(text.unwrap_or_default())
    })
}
