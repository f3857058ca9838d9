//! Reads the SQLite files of Reflow's own tracing servers, older and newer, as read-only stores.
//!
//! Their columns tell two layouts ([`layout`]) apart:
//! - *whole traces*: `traces.data` is a trace as JSON, compressed with zstd if it is long;
//! - *columns*: a row of `trace_events` per event, with times in whole seconds.
//!
//! Rows that can't be decoded are reported, and reading continues after them.

mod event;
mod layout;
#[cfg(test)]
mod tests;
mod trace;
mod walk;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId, TracePage, TraceQuery};
use reflow_tracing_sqlite::SqliteConfig;
use reflow_tracing_sqlite::connection::describe;
use reflow_tracing_sqlite::pool::blocking;
use reflow_tracing_sqlite::read_only::{self, Reader};
use reflow_tracing_storage::{Detail, PageRequest, StorageBackend, StorageError, StorageExtras, TracePart};
use rusqlite::Connection;

use crate::read_ahead::read_in_thread;
use layout::Layout;
use walk::Walk;

/// A SQLite file of Reflow's own tracing server: a read-only source for migrations.
///
/// Where the file has times in whole seconds, nanoseconds preserve the order in which the events of a trace were recorded: the
/// n-th event of a second gets n nanoseconds.
#[derive(Debug, Clone)]
pub struct LegacySqlite {
    path: PathBuf,
    layout: Layout,
}

impl LegacySqlite {
    /// Opens the file if such a server wrote it; `None` if it is something else or missing.
    pub async fn detect(path: impl AsRef<Path>) -> Result<Option<Self>, StorageError> {
        let path = path.as_ref().to_owned();
        if !path.is_file() {
            return Ok(None);
        }
        blocking(move || {
            let reader = connect(&path)?;
            let layout = Layout::of(&reader.connection).map_err(|error| describe(&path, &error))?;
            Ok(layout.map(|layout| Self { path, layout }))
        })
        .await
    }

    /// Opens the file.
    ///
    /// Fails with [`StorageError::Configuration`] if it is missing or no such server wrote it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let file = path.as_ref().display();
        Self::detect(path.as_ref()).await?.ok_or_else(|| {
            StorageError::Configuration(format!("{file} is not a SQLite file of Reflow's own tracing server"))
        })
    }

    fn read_only<T>(&self) -> Result<T, StorageError> {
        Err(StorageError::Unsupported(format!(
            "{} was written by Reflow's own tracing server: it is read only. Copy it into another store with \
             `reflow-tracing migrate`",
            self.path.display()
        )))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Layout) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let Self { path, layout } = self.clone();
        blocking(move || {
            let reader = connect(&path)?;
            let result = work(&reader.connection, &layout);
            reader.check()?;
            result.map_err(|error| describe(&path, &error))
        })
        .await
    }

    /// The items that `work` emits in a separate thread. Its `emit` returns false when the receiver is gone.
    fn emitted<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Layout, &mut dyn FnMut(T) -> bool) -> rusqlite::Result<()> + Send + 'static,
    ) -> BoxStream<'static, Result<T, StorageError>> {
        let Self { path, layout } = self.clone();
        read_in_thread(16, move |sender| {
            let emit = &mut |item| sender.blocking_send(Ok(item)).is_ok();
            let worked = connect(&path).and_then(|reader| {
                let result = work(&reader.connection, &layout, emit);
                reader.check()?;
                result.map_err(|error| describe(&path, &error))
            });
            if let Err(error) = worked {
                let _ = sender.blocking_send(Err(error));
            }
        })
    }
}

fn connect(path: &Path) -> Result<Reader, StorageError> {
    let database_path = path.to_str().ok_or_else(|| {
        StorageError::Configuration(format!("the path {} is not Unicode; SQLite needs one that is", path.display()))
    })?;
    read_only::open(&SqliteConfig { database_path: database_path.into(), ..SqliteConfig::default() })
}

#[async_trait]
impl StorageBackend for LegacySqlite {
    async fn store_trace(&self, _: FlowTrace) -> Result<(), StorageError> {
        self.read_only()
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let found = self.read(move |connection, layout| trace::find(connection, layout, trace_id)).await?;
        found.transpose().map_err(StorageError::Corrupt)
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, _: TraceId, _: TraceEvent) -> Result<(), StorageError> {
        self.read_only()
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.stream_events(trace_id).try_collect().await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.read(|connection, _| connection.query_row("SELECT count(*) FROM traces LIMIT 1", [], |_| Ok(()))).await
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        self.read(move |connection, layout| {
            let total = if total { Some(walk::count(connection, layout, &query)?) } else { None };
            let walk = Walk { connection, layout, query: &query, detail, after: window.after };
            let page = if window.limit == 0 { TracePage::default() } else { walk.page(window)? };
            Ok(TracePage { total, ..page })
        })
        .await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        let events = self.emitted(move |connection, layout, emit| trace::events_of(connection, layout, trace_id, emit));
        events.map(|event| event.and_then(|event| event.map_err(StorageError::Corrupt))).boxed()
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        if let Err(problem) = query.validate() {
            return stream::iter([Err(StorageError::InvalidArgument(problem))]).boxed();
        }
        self.emitted(move |connection, layout, emit| {
            Walk { connection, layout, query: &query, detail: Detail::Traces, after: None }.run(emit)
        })
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for LegacySqlite {
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.read(move |connection, _| walk::headerless(connection, after, limit)).await
    }
}
