use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::config::SqliteConfig;
use super::connection::{configure_reads, describe, open};
use super::read_only::{self, Reader};
use reflow_tracing_storage::StorageError;

/// A pool of at most `max_connections` connections, which are used on threads that may block.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    config: SqliteConfig,
    set_up: SetUp,
    idle: Mutex<Vec<Opened>>,
    permits: Arc<Semaphore>,
}

/// Sets up a connection. When the flag is set later, the connection has changed in a way that the next caller must not see, and
/// is not used again.
pub type SetUp = fn(&mut Connection, &Arc<AtomicBool>) -> rusqlite::Result<()>;

/// A connection that was set up, with the flag for it.
struct Opened {
    reader: Reader,
    changed: Arc<AtomicBool>,
}

/// A connection borrowed from a pool.
pub struct Pooled {
    opened: Option<Opened>,
    shared: Arc<Shared>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Pool {
    /// A pool whose connections run `set_up` when they are opened.
    pub fn new(config: SqliteConfig, set_up: SetUp) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_connections.max(1) as usize));
        Self { shared: Arc::new(Shared { config, set_up, idle: Mutex::default(), permits }) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        Path::new(&self.shared.config.database_path)
    }

    /// Waits for a connection. Use and drop it on a thread that may block.
    pub async fn acquire(&self) -> Result<Pooled, StorageError> {
        let permit = Arc::clone(&self.shared.permits)
            .acquire_owned()
            .await
            .map_err(|_| StorageError::Unavailable(format!("{} is closed", self.path().display())))?;
        let idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Pooled { opened: idle, shared: Arc::clone(&self.shared), _permit: permit })
    }

    /// Runs `work` with a connection on a thread that may block.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let mut pooled = self.acquire().await?;
        blocking(move || {
            let connection = pooled.connection()?;
            let result = work(connection);
            pooled.check()?;
            result.map_err(|error| pooled.shared.describe(&error))
        })
        .await
    }

    /// Runs `work` in a read transaction, which sees one state of the store.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.finish()?;
            Ok(result)
        })
        .await
    }

    /// Rejects further calls, and closes the idle connections.
    pub fn close(&self) {
        self.shared.permits.close();
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn open(&self) -> Result<Opened, StorageError> {
        let config = &self.config;
        let mut reader = if config.read_only {
            let reader = read_only::open(config)?;
            configure_reads(&reader.connection, config).map_err(|error| self.describe(&error))?;
            reader
        } else {
            open(config)?.into()
        };
        let changed = Arc::default();
        (self.set_up)(&mut reader.connection, &changed).map_err(|error| self.describe(&error))?;
        Ok(Opened { reader, changed })
    }

    fn describe(&self, error: &rusqlite::Error) -> StorageError {
        describe(Path::new(&self.config.database_path), error)
    }
}

impl Pooled {
    /// The connection, opened at the first use.
    pub fn connection(&mut self) -> Result<&mut Connection, StorageError> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => self.shared.open()?,
        };
        Ok(&mut self.opened.insert(opened).reader.connection)
    }

    /// Fails if what was read does not count: see [`Reader::check`]. The next caller gets another connection.
    fn check(&mut self) -> Result<(), StorageError> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let checked = opened.reader.check();
        if checked.is_err() {
            self.opened = None;
        }
        checked
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        // An open transaction would keep its lock. If the rollback fails, closing the connection releases it.
        if let Some(opened) = self.opened.take()
            && (opened.reader.connection.is_autocommit() || opened.reader.connection.execute_batch("ROLLBACK").is_ok())
            && !opened.changed.load(Ordering::Relaxed)
            && !self.shared.permits.is_closed()
        {
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(opened);
        }
    }
}

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::Unavailable("the program is shutting down".into())),
        },
    }
}
