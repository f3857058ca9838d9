//! The indexes: which traces stand in which, and how that is kept true while several write.
//!
//! A trace with a header stands in the indexes that follow from its header (`index:ID`) and from what its events are about
//! (`about:ID`), at its place. Each of two writers first writes its own and then reads the other's: who stores an event
//! adds to `about:ID`, then looks for a header; who stores a header is told, in the transaction that does it, what
//! `about:ID` holds. So at least one of them sees both. What stands in an index and does not belong there is passed over by
//! whoever reads; what belongs there and does not stand there would be missed.

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Reply};
use reflow_tracing_plugin::{EventBatch, Result, StorageError, Uuid};

use crate::about::{self, About};
use crate::header::Header;
use crate::place::Place;
use crate::{actors, key};

/// Traces that are changed in one transaction.
pub const TRACES_A_TRANSACTION: usize = 32;
/// Each try fails only because another's succeeded.
pub const TRIES: usize = 100;

/// What the places of a trace in the indexes follow from, as it was read.
pub struct Known {
    pub id: Uuid,
    /// What `index:ID` holds.
    stored: Option<Vec<u8>>,
    pub header: Option<Header>,
    pub about: About,
}

/// Reads what is known of traces.
pub fn read(server: &Connection, ids: &[Uuid]) -> Result<Vec<Known>> {
    let abouts = ids.iter().copied().map(about::read);
    let mut replies = server.run(std::iter::once(headers(ids)).chain(abouts))?.into_iter();
    let headers = replies.next().map(Reply::into_elements).unwrap_or_default();
    let known = |((&id, header), about): ((&Uuid, Reply), Reply)| Known::of(id, header, About::of(about)?);
    ids.iter().zip(headers).zip(replies).map(known).collect()
}

/// Reads what `index:ID` holds for each trace.
pub fn headers(ids: &[Uuid]) -> Command {
    Command::new("MGET").args(ids.iter().map(|id| key::index(*id)))
}

/// Another writer was at work on the same traces each time.
pub fn contended() -> StorageError {
    StorageError::Unavailable("other writers keep changing the same traces".into())
}

impl Known {
    fn of(id: Uuid, header: Reply, about: About) -> Result<Self> {
        let stored = header.into_bytes();
        let header = stored.as_deref().map(Header::decode).transpose()?;
        Ok(Self { id, stored, header, about })
    }

    /// That nobody has changed the header since.
    pub fn unchanged(&self) -> Expectation {
        Expectation { key: key::index(self.id).into_bytes(), value: self.stored.clone() }
    }

    /// Takes the trace out of the indexes.
    pub fn leave(&self) -> Vec<Command> {
        let Some(header) = &self.header else { return Vec::new() };
        let place = place(self.id, header);
        indexes(header, &self.about).map(|index| Command::new("ZREM").arg(index).arg(&*place)).collect()
    }

    /// Puts the trace into the indexes, and keeps its header for who takes it out again.
    pub fn enter(&self) -> Vec<Command> {
        let (Some(header), Some(stored)) = (&self.header, &self.stored) else { return Vec::new() };
        let place = place(self.id, header);
        let mut commands: Vec<_> = indexes(header, &self.about).map(|index| add(index, &place)).collect();
        commands.extend(actors::note(&self.about.actors));
        commands.push(Command::new("SET").arg(key::index(self.id)).arg(&**stored));
        commands
    }

    /// The same trace with this header.
    pub fn with(&self, header: Option<Header>) -> Result<Self> {
        let stored = header.as_ref().map(Header::encode).transpose()?;
        Ok(Self { id: self.id, stored, header, about: self.about.clone() })
    }
}

/// Makes up for events that were stored between the reading of a trace and the transaction that turned it from `old` into
/// `new`: they were put into indexes that it has left, and not into those that it is in now. `about`: what the events are
/// about since.
pub fn catch_up(server: &Connection, mut old: Known, mut new: Known, about: About) -> Result<()> {
    if old.about == about {
        return Ok(());
    }
    old.about = about.clone();
    new.about = about;
    // Changed once more, it is for whoever did it to make up for.
    server.run_if(&[new.unchanged()], [old.leave(), new.enter()].concat())?;
    Ok(())
}

/// Puts the traces that have a header into the indexes that follow from events which were stored just now, and are in
/// `about:ID` already. `headers`: what [`headers`] answered.
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

/// Whether none of the traces has changed meanwhile: otherwise nothing is done.
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

/// The indexes that a trace stands in.
fn indexes(header: &Header, about: &About) -> impl Iterator<Item = String> {
    let failed = header.has_failed() || about.has_failed();
    let health = if failed { key::BY_FAILED } else { key::BY_SOUND };
    header.indexes().into_iter().chain([health.to_owned()]).chain(of_events(about))
}

/// Those that follow from the events alone.
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
