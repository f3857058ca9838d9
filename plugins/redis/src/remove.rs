//! Taking traces out of the indexes: those that are deleted, and those that expired.

use std::collections::BTreeSet;

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Reply};
use reflow_tracing_plugin::{Result, StorageError, Uuid};

use crate::header::Header;
use crate::key;
use crate::lifetime::{Lifetime, of_events};
use crate::place::Place;

/// Traces that are changed in one transaction.
pub const TRACES_A_TRANSACTION: usize = 32;
/// Each try fails only because another's succeeded.
pub const TRIES: usize = 100;

/// What `index:ID` holds for each trace.
pub fn read_indexes(server: &Connection, ids: &[Uuid]) -> Result<Vec<Option<Vec<u8>>>> {
    let read = Command::new("MGET").args(ids.iter().map(|id| key::index(*id)));
    let found = server.run_one(read)?.into_elements();
    Ok(found.into_iter().map(Reply::into_bytes).collect())
}

/// That the traces still stand in the indexes as they did.
pub fn unchanged(ids: &[Uuid], indexed: &[Option<Vec<u8>>]) -> Vec<Expectation> {
    let expectation = |(id, value): (&Uuid, &Option<Vec<u8>>)| Expectation {
        key: key::index(*id).into_bytes(),
        value: value.clone(),
    };
    ids.iter().zip(indexed).map(expectation).collect()
}

/// Takes a trace out of the indexes, as `index:ID` lists them.
pub fn from_indexes(id: Uuid, indexed: &[u8]) -> Result<Vec<Command>> {
    let header = Header::decode(indexed)?;
    let place = Place { start: header.start, id }.to_bytes();
    Ok(header.indexes().into_iter().map(|index| Command::new("ZREM").arg(index).arg(&*place)).collect())
}

/// Another writer was at work on the same traces each time.
pub fn contended() -> StorageError {
    StorageError::Unavailable("other writers keep changing the same traces".into())
}

/// Deletes traces with all that there is of them. Says how many there were.
pub fn delete(server: &Connection, ids: Vec<Uuid>) -> Result<u64> {
    // Asked for twice, deleted once.
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
        let indexed = read_indexes(server, ids)?;
        // The answers to these tell whether there was anything: what has expired does not count.
        let mut commands: Vec<_> =
            ids.iter().map(|id| Command::new("DEL").arg(key::trace(*id)).arg(key::events(*id))).collect();
        for (id, indexed) in ids.iter().zip(&indexed) {
            if let Some(indexed) = indexed {
                commands.extend(from_indexes(*id, indexed)?);
            }
            commands.extend(forget(*id));
        }
        if let Some(replies) = server.run_if(&unchanged(ids, &indexed), commands)? {
            let existed = replies.iter().take(ids.len()).filter(|reply| reply.as_integer() > Some(0));
            return Ok(existed.count() as u64);
        }
    }
    Err(contended())
}

/// Removes what is left of a trace without header and events.
fn forget(id: Uuid) -> [Command; 2] {
    [
        Command::new("DEL").arg(key::index(id)).arg(key::bodies(id)).arg(key::about(id)),
        Command::new("ZREM").arg(key::TRACES).arg(id.to_bytes()),
    ]
}

/// Takes up to `most` traces that have expired out of the indexes.
pub fn sweep(server: &Connection, lifetime: Lifetime, most: usize) -> Result<()> {
    let Lifetime::Until { now, .. } = lifetime else { return Ok(()) };
    let due = Command::new("ZRANGE").arg(key::TRACES).arg("-inf").number(now).arg("BYSCORE").arg("LIMIT").number(0);
    let due = server.run_one(due.number(i64::try_from(most).unwrap_or(i64::MAX)))?.into_elements();
    let ids = due.into_iter().filter_map(|id| Some(Uuid::from_bytes(id.into_bytes()?.try_into().ok()?)));
    let ids: Vec<_> = ids.collect();
    ids.chunks(TRACES_A_TRANSACTION).try_for_each(|ids| sweep_some(server, lifetime, ids))
}

/// Takes traces out of the indexes if nothing is left of them.
fn sweep_some(server: &Connection, lifetime: Lifetime, ids: &[Uuid]) -> Result<()> {
    let indexed = read_indexes(server, ids)?;
    let mut expected = unchanged(ids, &indexed);
    let mut commands = Vec::new();
    for (id, indexed) in ids.iter().zip(&indexed) {
        let gone = [key::trace(*id), key::events(*id), key::bodies(*id)];
        expected.extend(gone.map(|key| Expectation { key: key.into_bytes(), value: None }));
        if let Some(indexed) = indexed {
            commands.extend(from_indexes(*id, indexed)?);
        }
        commands.extend(forget(*id));
    }
    if server.run_if(&expected, commands)?.is_some() {
        return Ok(());
    }
    match ids {
        // It was written to since, or a writer died before it could set when this expires.
        [id] => {
            let keys = of_events(*id).into_iter().chain([key::trace(*id)]);
            let unset = lifetime.extend(keys).map(|command| command.arg("NX"));
            server.run(unset.chain([lifetime.note_later(*id)]))?;
            Ok(())
        }
        // One of them: the others can go.
        _ => {
            let (some, others) = ids.split_at(ids.len() / 2);
            sweep_some(server, lifetime, some)?;
            sweep_some(server, lifetime, others)
        }
    }
}
