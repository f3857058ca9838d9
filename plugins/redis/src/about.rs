//! What the events of a trace are about: the set `about:ID`, so that a query needs no event.
//!
//! Its members are `a` and an actor's id, `k` and the name of a kind, and `e1` when an event carries an error (`e0`: when one
//! carries none).

use std::collections::{BTreeMap, BTreeSet};

use reflow_tracing_plugin::redis::{Command, Reply, Template, field, fixed, present};
use reflow_tracing_plugin::{Column, EventBatch, Result, StorageError, Texts, TraceQuery, Uuid};

use crate::key;

/// The kind of an event that is a failure, whether it carries an error or not.
const FAILURE: &str = "ActorFailed";

/// Adds what an event is about.
pub fn remember() -> Template {
    Template::new("SADD")
        .arg([fixed("about:"), field("trace-id")])
        .arg([fixed("a"), field("actor-id")])
        .arg([fixed("k"), field("event-type")])
        .arg([fixed("e"), present("error")])
}

/// Reads what is known of a trace's events, for [`About::of`].
pub fn read(id: Uuid) -> Command {
    Command::new("SMEMBERS").arg(key::about(id))
}

/// Reads whether one of a trace's events carries an error.
pub fn read_error(id: Uuid) -> Command {
    Command::new("SISMEMBER").arg(key::about(id)).arg("e1")
}

/// Whether the query asks about events.
pub fn is_asked_for(query: &TraceQuery) -> bool {
    query.actor.is_some() || query.event_types.is_some() || query.has_error.is_some()
}

/// What is known of a trace's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    pub actors: BTreeSet<String>,
    pub kinds: BTreeSet<String>,
    /// Whether one carries an error.
    pub error: bool,
}

impl About {
    /// What `about:ID` holds.
    pub fn of(reply: Reply) -> Result<Self> {
        let mut about = Self::default();
        for member in reply.into_elements() {
            let member = member.into_bytes().and_then(|bytes| String::from_utf8(bytes).ok());
            let damaged = || StorageError::other("a key `about:..` holds something else");
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

    /// What the events of a batch are about, by trace. Not whether one carries an error: an empty one looks like none.
    pub fn of_each_trace(events: &EventBatch) -> Result<BTreeMap<(u64, u64), Self>> {
        let columns = ["trace-id", "actor-id", "event-type"].map(str::to_owned);
        let columns = events.columns(&columns).map_err(StorageError::other)?;
        let Ok([Column::Uuids(ids), Column::Texts(actors), Column::Texts(kinds)]) = <[Column; 3]>::try_from(columns)
        else {
            return Err(StorageError::other("the host's columns are not of the kinds that the contract names"));
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

    /// Whether something went wrong, as far as the events tell.
    pub fn has_failed(&self) -> bool {
        self.error || self.kinds.contains(FAILURE)
    }

    /// Whether the trace is asked for, as far as its events tell. `failed`: whether its header says so.
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
