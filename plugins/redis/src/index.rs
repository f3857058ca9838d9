//! The indexes, and how they stay complete under concurrent writes.
//!
//! A trace with a header is in the indexes that follow from its header (`index:ID`) and from the summary of its events
//! (`about:ID`). A writer of events adds to `about:ID` and then reads the header. A writer of a header reads `about:ID` in the
//! transaction that stores the header. So at least one of two concurrent writers sees both. Readers skip a trace that is in an
//! index by mistake, but they would miss one that is not there.

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Reply};
use reflow_tracing_plugin::{EventBatch, Result, StorageError, Uuid};

use crate::about::{self, About};
use crate::header::Header;
use crate::place::Place;
use crate::{actors, key};

/// Traces per transaction.
pub const TRACES_A_TRANSACTION: usize = 32;
/// Attempts of a transaction. One fails only when another writer's succeeded.
pub const TRIES: usize = 100;

/// What determines the indexes of a trace, as it was read.
pub struct Known {
    pub id: Uuid,
    /// The content of `index:ID`.
    stored: Option<Vec<u8>>,
    pub header: Option<Header>,
    pub about: About,
}

/// Reads the state of traces.
pub fn read(server: &Connection, ids: &[Uuid]) -> Result<Vec<Known>> {
    let abouts = ids.iter().copied().map(about::read);
    let mut replies = server.run(std::iter::once(headers(ids)).chain(abouts))?.into_iter();
    let headers = replies.next().map(Reply::into_elements).unwrap_or_default();
    let known = |((&id, header), about): ((&Uuid, Reply), Reply)| Known::of(id, header, About::of(about)?);
    ids.iter().zip(headers).zip(replies).map(known).collect()
}

/// Reads `index:ID` of each trace.
pub fn headers(ids: &[Uuid]) -> Command {
    Command::new("MGET").args(ids.iter().map(|id| key::index(*id)))
}

/// Every attempt met another writer.
pub fn contended() -> StorageError {
    StorageError::Unavailable("other writers keep changing the same traces".into())
}

impl Known {
    fn of(id: Uuid, header: Reply, about: About) -> Result<Self> {
        let stored = header.into_bytes();
        let header = stored.as_deref().map(Header::decode).transpose()?;
        Ok(Self { id, stored, header, about })
    }

    /// Expects that the header has not changed since.
    pub fn unchanged(&self) -> Expectation {
        Expectation { key: key::index(self.id).into_bytes(), value: self.stored.clone() }
    }

    /// Removes the trace from the indexes.
    pub fn leave(&self) -> Vec<Command> {
        let Some(header) = &self.header else { return Vec::new() };
        let place = place(self.id, header);
        indexes(header, &self.about).map(|index| Command::new("ZREM").arg(index).arg(&*place)).collect()
    }

    /// Adds the trace to the indexes, and stores its header for a later removal.
    pub fn enter(&self) -> Vec<Command> {
        let (Some(header), Some(stored)) = (&self.header, &self.stored) else { return Vec::new() };
        let place = place(self.id, header);
        let mut commands: Vec<_> = indexes(header, &self.about).map(|index| add(index, &place)).collect();
        commands.extend(actors::note(&self.about.actors));
        commands.push(Command::new("SET").arg(key::index(self.id)).arg(&**stored));
        commands
    }

    /// The trace with another header.
    pub fn with(&self, header: Option<Header>) -> Result<Self> {
        let stored = header.as_ref().map(Header::encode).transpose()?;
        Ok(Self { id: self.id, stored, header, about: self.about.clone() })
    }
}

/// Corrects the indexes for events that were stored between the read of a trace and the transaction that changed it from `old`
/// to `new`: their writers used the old place of the trace. `about` is the summary since then.
pub fn catch_up(server: &Connection, mut old: Known, mut new: Known, about: About) -> Result<()> {
    if old.about == about {
        return Ok(());
    }
    old.about = about.clone();
    new.about = about;
    // If the header has changed again, its writer corrects the indexes.
    server.run_if(&[new.unchanged()], [old.leave(), new.enter()].concat())?;
    Ok(())
}

/// Adds the traces that have a header to the indexes that follow from new events, which are in `about:ID` already. `headers` is
/// the answer to [`headers`].
pub fn add_events(server: &Connection, ids: &[Uuid], headers: Reply, events: &EventBatch) -> Result<()> {
    let with_header = ids.iter().copied().zip(headers.into_elements());
    let mut left: Vec<_> = with_header.filter(|(_, header)| *header != Reply::Nil).collect();
    if left.is_empty() {
        return Ok(());
    }
    let written = About::of_each_trace(events)?;
    let about = |id: Uuid| written.get(&(id.high, id.low)).cloned().unwrap_or_default();
    for _ in 0..TRIES {
        let mut changed = Vec::new();
        for traces in left.chunks(TRACES_A_TRANSACTION) {
            let known = traces.iter().cloned().map(|(id, header)| Known::of(id, header, about(id)));
            let known = known.collect::<Result<Vec<_>>>()?;
            if !add_events_of(server, known)? {
                changed.extend(traces.iter().map(|(id, _)| *id));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let headers = server.run_one(self::headers(&changed))?.into_elements();
        left = changed.into_iter().zip(headers).filter(|(_, header)| *header != Reply::Nil).collect();
    }
    Err(contended())
}

/// Returns false, and changes nothing, if a header has changed meanwhile.
fn add_events_of(server: &Connection, mut known: Vec<Known>) -> Result<bool> {
    let errors = server.run(known.iter().map(|known| about::read_error(known.id)))?;
    let mut commands = Vec::new();
    for (Known { id, header, about, .. }, error) in known.iter_mut().zip(errors) {
        let Some(header) = header else { continue };
        about.error = error.as_integer() == Some(1);
        let place = place(*id, header);
        commands.extend(of_events(about).map(|index| add(index, &place)));
        commands.extend(actors::note(&about.actors));
        if about.has_failed() {
            commands.push(add(key::BY_FAILED.to_owned(), &place));
            commands.push(Command::new("ZREM").arg(key::BY_SOUND).arg(&*place));
        }
    }
    let unchanged: Vec<_> = known.iter().map(Known::unchanged).collect();
    Ok(server.run_if(&unchanged, commands)?.is_some())
}

/// The indexes that a trace is in.
fn indexes(header: &Header, about: &About) -> impl Iterator<Item = String> {
    let failed = header.has_failed() || about.has_failed();
    let health = if failed { key::BY_FAILED } else { key::BY_SOUND };
    header.indexes().into_iter().chain([health.to_owned()]).chain(of_events(about))
}

/// The indexes that follow from the events alone.
fn of_events(about: &About) -> impl Iterator<Item = String> {
    let actors = about.actors.iter().map(|actor| key::by_actor(actor));
    actors.chain(about.kinds.iter().map(|kind| key::by_kind(kind)))
}

fn place(id: Uuid, header: &Header) -> Vec<u8> {
    Place { start: header.start, id }.to_bytes()
}

fn add(index: String, place: &[u8]) -> Command {
    Command::new("ZADD").arg(index).number(0).arg(place)
}
