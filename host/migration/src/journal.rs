//! How far a migration got, in a small file: what lets it go on after it was interrupted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use futures::TryStreamExt;

use super::MigrationError;
use super::part::Place;
use super::tally::Seen;
use reflow_tracing_storage::{StorageBackend, StorageError};

/// How often progress is written down. Each time the target is flushed first: what is noted as done must not be lost, be it
/// the power that fails.
const EVERY: Duration = Duration::from_secs(1);

/// Where the progress of a migration is written down, while it runs. The file is removed when everything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The file.
    pub path: PathBuf,
    /// What is copied from where to where. A journal of something else is refused.
    pub about: String,
    /// Whether to go on where the journal says that an earlier run ended, if there is one. Otherwise everything is copied.
    pub resume: bool,
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    about: String,
    done: Place,
    seen: Seen,
}

impl Journal {
    /// Where an earlier run ended, if `target` still has what was copied last: it may be a new one of the same name.
    pub(super) async fn read<B: StorageBackend + ?Sized>(
        &self,
        target: &B,
    ) -> Result<Option<(Place, Seen)>, MigrationError> {
        let Some((done, seen)) = self.entry()? else { return Ok(None) };
        if has(target, done).await.map_err(MigrationError::Target)? {
            return Ok(Some((done, seen)));
        }
        tracing::warn!(
            "the target does not have trace {}, which the journal {} says was copied last: everything is copied again",
            done.trace_id(),
            self.path.display()
        );
        Ok(None)
    }

    fn entry(&self) -> Result<Option<(Place, Seen)>, MigrationError> {
        if !self.resume {
            return Ok(None);
        }
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.problem(error)),
        };
        let entry: Entry = serde_json::from_str(&text).map_err(|error| {
            self.problem(format!("it is no journal of a migration ({error}); remove it, or begin without resuming"))
        })?;
        if entry.version != VERSION {
            return Err(self.problem("it was written by another version of this program; begin without resuming"));
        }
        if entry.about != self.about {
            let other =
                format!("it is about another one: {}; begin without resuming, or name another file", entry.about);
            return Err(self.problem(other));
        }
        Ok(Some((entry.done, entry.seen)))
    }

    fn write(&self, (done, seen): (Place, Seen)) -> Result<(), MigrationError> {
        let entry = Entry { version: VERSION, about: self.about.clone(), done, seen };
        let text = serde_json::to_string(&entry).map_err(|error| self.problem(error))?;
        replace(&self.path, text.as_bytes()).map_err(|error| self.problem(error))
    }

    /// There is nothing left to do.
    pub(super) fn remove(&self) -> Result<(), MigrationError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.problem(error)),
            _ => Ok(()),
        }
    }

    fn problem(&self, problem: impl ToString) -> MigrationError {
        MigrationError::File { path: self.path.clone(), problem: format!("the journal: {}", problem.to_string()) }
    }
}

/// Whether a store has anything of this trace.
async fn has<B: StorageBackend + ?Sized>(store: &B, place: Place) -> Result<bool, StorageError> {
    match place {
        Place::Trace { trace_id, .. } => Ok(store.get_headers(vec![trace_id]).await?.iter().any(Option::is_some)),
        Place::Headerless { trace_id } => Ok(store.stream_events(trace_id).try_next().await?.is_some()),
    }
}

/// The file has either its old content or the new one, whenever the machine stops.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Writes a journal every now and then.
pub(super) struct Keeper<'a> {
    journal: Option<&'a Journal>,
    last: Instant,
    done: Option<(Place, Seen)>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(journal: Option<&'a Journal>) -> Self {
        Self { journal, last: Instant::now(), done: None }
    }

    /// Everything to here is stored in `target`.
    pub(super) async fn reached<B: StorageBackend + ?Sized>(
        &mut self,
        done: Option<(Place, Seen)>,
        target: &B,
    ) -> Result<(), MigrationError> {
        self.done = done.or(self.done);
        if self.last.elapsed() < EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        self.note(target).await
    }

    /// Writes down what was reached.
    pub(super) async fn note<B: StorageBackend + ?Sized>(&mut self, target: &B) -> Result<(), MigrationError> {
        let (Some(journal), Some(done)) = (self.journal, self.done) else { return Ok(()) };
        match target.flush().await {
            Ok(()) => journal.write(done)?,
            // It is noted next time.
            Err(error) if error.is_retryable() => tracing::debug!("not noted in the journal: {error}"),
            Err(error) => return Err(MigrationError::Target(error)),
        }
        self.done = None;
        Ok(())
    }
}
