//! Removes traces: deleted ones, and the rest of expired ones.

use std::collections::BTreeSet;

use reflow_tracing_plugin::redis::{Command, Connection, Expectation};
use reflow_tracing_plugin::{Result, Uuid};

use crate::about::{self, About};
use crate::index::{self, Known, TRACES_A_TRANSACTION, TRIES};
use crate::lifetime::{Lifetime, of_events};
use crate::{actors, key};

/// Deletes traces completely. Returns how many existed.
pub fn delete(server: &Connection, ids: Vec<Uuid>) -> Result<u64> {
    // Without duplicates.
    let ids: BTreeSet<_> = ids.into_iter().map(Uuid::to_bytes).collect();
    let ids: Vec<_> = ids.into_iter().map(Uuid::from_bytes).collect();
    let mut deleted = 0;
    for ids in ids.chunks(TRACES_A_TRANSACTION) {
        deleted += delete_some(server, ids)?;
    }
    Ok(deleted)
}

fn delete_some(server: &Connection, ids: &[Uuid]) -> Result<u64> {
    for _ in 0..TRIES {
        let known = index::read(server, ids)?;
        let unchanged: Vec<_> = known.iter().map(Known::unchanged).collect();
        // Their answers show which traces existed; expired ones did not.
        let mut commands: Vec<_> =
            ids.iter().map(|id| Command::new("DEL").arg(key::trace(*id)).arg(key::events(*id))).collect();
        commands.extend(ids.iter().copied().map(about::read));
        commands.extend(known.iter().flat_map(forget));
        let Some(replies) = server.run_if(&unchanged, commands)? else { continue };
        let mut replies = replies.into_iter();
        let existed = replies.by_ref().take(ids.len()).filter(|reply| reply.as_integer() > Some(0)).count();
        let mut of_actors = BTreeSet::new();
        for (known, about) in known.into_iter().zip(replies) {
            let about = About::of(about)?;
            of_actors.extend(about.actors.iter().cloned());
            let gone = known.with(None)?;
            index::catch_up(server, known, gone, about)?;
        }
        actors::prune(server, &of_actors)?;
        return Ok(existed as u64);
    }
    Err(index::contended())
}

/// Removes everything of a trace but its header and the places of its events.
fn forget(known: &Known) -> Vec<Command> {
    let mut commands = known.leave();
    let id = known.id;
    commands.push(Command::new("DEL").arg(key::index(id)).arg(key::bodies(id)).arg(key::about(id)));
    commands.push(Command::new("ZREM").arg(key::TRACES).arg(id.to_bytes()));
    commands
}

/// Removes up to `most` expired traces from the indexes.
pub fn sweep(server: &Connection, lifetime: Lifetime, most: usize) -> Result<()> {
    let Lifetime::Until { now, .. } = lifetime else { return Ok(()) };
    let due = Command::new("ZRANGE").arg(key::TRACES).arg("-inf").number(now).arg("BYSCORE").arg("LIMIT").number(0);
    let due = server.run_one(due.number(i64::try_from(most).unwrap_or(i64::MAX)))?.into_elements();
    let ids = due.into_iter().filter_map(|id| Some(Uuid::from_bytes(id.into_bytes()?.try_into().ok()?)));
    let ids: Vec<_> = ids.collect();
    ids.chunks(TRACES_A_TRANSACTION).try_for_each(|ids| sweep_some(server, lifetime, ids))
}

/// Removes those of `ids` that have expired, so that a new write starts a new trace.
pub fn sweep_these(server: &Connection, lifetime: Lifetime, ids: &[Uuid]) -> Result<()> {
    let Lifetime::Until { now, .. } = lifetime else { return Ok(()) };
    let ends = Command::new("ZMSCORE").arg(key::TRACES).args(ids.iter().map(|id| id.to_bytes()));
    let ends = server.run_one(ends)?.into_elements();
    let ended = |end: Vec<u8>| str::from_utf8(&end).ok()?.parse::<f64>().ok().map(|end| end <= now as f64);
    let expired = ids.iter().zip(ends).filter(|(_, end)| end.clone().into_bytes().and_then(ended) == Some(true));
    let expired: Vec<_> = expired.map(|(id, _)| *id).collect();
    expired.chunks(TRACES_A_TRANSACTION).try_for_each(|ids| sweep_some(server, lifetime, ids))
}

/// Removes traces from the indexes if their headers and events are gone.
fn sweep_some(server: &Connection, lifetime: Lifetime, ids: &[Uuid]) -> Result<()> {
    let known = index::read(server, ids)?;
    let mut expected: Vec<_> = known.iter().map(Known::unchanged).collect();
    for id in ids {
        let gone = of_events(*id).into_iter().chain([key::trace(*id)]);
        expected.extend(gone.map(|key| Expectation { key: key.into_bytes(), value: None }));
    }
    if server.run_if(&expected, known.iter().flat_map(forget))?.is_some() {
        return actors::prune(server, &known.into_iter().flat_map(|known| known.about.actors).collect());
    }
    match ids {
        // It was written to since, or a writer died before it set the expiry time.
        [id] => {
            let keys = of_events(*id).into_iter().chain([key::trace(*id)]);
            let unset = lifetime.extend(keys).map(|command| command.arg("NX"));
            server.run(unset.chain([lifetime.note_later(*id)]))?;
            Ok(())
        }
        // At least one of them must stay; find out which.
        _ => {
            let (some, others) = ids.split_at(ids.len() / 2);
            sweep_some(server, lifetime, some)?;
            sweep_some(server, lifetime, others)
        }
    }
}
