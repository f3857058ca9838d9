use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::BoxStream;
use reflow_tracing_model::{FlowTrace, Position, TraceEvent, TraceId, TracePage, TraceQuery, time};
use reflow_tracing_storage::metrics::Metered;
use reflow_tracing_storage::sql::EventRow;
use reflow_tracing_storage::{
    Deletion, Detail, PageRequest, StorageBackend, StorageError, StorageExtras, StorageMetrics, StorageStats,
    TracePart, metered,
};
use rusqlite::{Connection, params_from_iter};
use uuid::Uuid;

use crate::config::SqliteConfig;
use crate::header::HeaderRow;
use crate::pool::{Pool, SetUp, blocking};
use crate::read::{GET_HEADER, complete, events, find, headerless, sequence_of};
use crate::reserve::Reserve;
use crate::rows::DELETED_AT_ONCE;
use crate::select::{Select, narrowed};
use crate::write::Write;
use crate::writer::Writer;
use crate::{connection, disk, header, leases, read_only, schema, stream};

/// Stores traces in a SQLite file.
///
/// With the default settings, acknowledged writes survive a crash of the process. [`SynchronousMode`](crate::SynchronousMode) documents what a loss of
/// power can lose.
pub struct SqliteStorage(pub(super) Metered<SqliteBackend>);

/// The backend without its measurements.
pub(super) struct SqliteBackend {
    pub readers: Pool,
    /// `None` if the file was opened for reading only.
    writer: Option<Writer>,
}

impl SqliteStorage {
    /// Opens the file at `path` with the default settings. Creates the file and its folder if they are missing.
    pub async fn new(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let database_path = path.to_str().ok_or_else(|| {
            StorageError::Configuration(format!("the path {} is not Unicode; SQLite needs one that is", path.display()))
        })?;
        Self::with_config(SqliteConfig { database_path: database_path.into(), ..SqliteConfig::default() }).await
    }

    /// Opens the file that `config` names. Creates the file and its folder if they are missing, unless it is for
    /// [reading only](SqliteConfig::read_only).
    ///
    /// Fails with [`StorageError::Configuration`] if the file is not a SQLite database, belongs to another program, or was
    /// written by a newer version. The file is not changed then.
    pub async fn with_config(config: SqliteConfig) -> Result<Self, StorageError> {
        blocking(move || {
            let path = connection::file_name(&config)?.to_owned();
            let writer = if config.read_only {
                schema::check(&read_only::open(&config)?.connection, &path)?;
                None
            } else {
                // The settings of a connection change the file, which may be another program's.
                schema::refuse_foreign(&config)?;
                let connection = match open(&config, &path) {
                    // On a full disk, what a killed host left may need a little room to be opened.
                    Err(_) if disk::check_room(&path).is_err() && Reserve::of(&path).release() => open(&config, &path)?,
                    opened => opened?,
                };
                Some(Writer::start(connection, path, config.busy_timeout())?)
            };
            let set_up: SetUp = match config.read_only {
                true => |connection, _| schema::read_as_newest(connection),
                false => |_, _| Ok(()),
            };
            let backend = SqliteBackend { writer, readers: Pool::new(config, set_up) };
            Ok(Self(Metered::around(backend)))
        })
        .await
    }

    /// Writes a consistent copy of the store to the file `target`, while others read and write.
    ///
    /// The copy is a complete store in a single file. `target` must not exist; it appears when the copy is complete.
    pub async fn backup(&self, target: impl AsRef<Path>) -> Result<(), StorageError> {
        let target = target.as_ref().to_owned();
        let refuse = |target: &Path, problem: &dyn std::fmt::Display| {
            StorageError::InvalidArgument(format!("the backup {}: {problem}", target.display()))
        };
        if target.exists() {
            return Err(refuse(&target, &"the file exists; name another file"));
        }
        let mut partial = target.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // Remove the file of an earlier attempt.
        let _ = std::fs::remove_file(&partial);
        let name = partial.to_str().ok_or_else(|| refuse(&target, &"the path is not Unicode"))?.to_owned();
        let copy = |connection: &mut Connection| connection.execute("VACUUM INTO ?1", [name]).map(|_| ());
        self.0.inner().readers.run(copy).await?;
        blocking(move || {
            let synced = std::fs::File::open(&partial).and_then(|file| file.sync_all());
            synced.and_then(|()| std::fs::rename(&partial, &target)).map_err(|error| refuse(&target, &error))
        })
        .await
    }
}

metered!(SqliteStorage);

/// Opens a file for writing.
fn open(config: &SqliteConfig, path: &Path) -> Result<Connection, StorageError> {
    let mut connection = connection::open(config)?;
    schema::prepare(&mut connection, path)?;
    Ok(connection)
}

impl SqliteBackend {
    fn writer(&self) -> Result<&Writer, StorageError> {
        self.writer.as_ref().ok_or_else(|| StorageError::read_only(self.readers.path().display()))
    }

    /// Gives free pages back to the file system, until a time at most, and moves the log to the file.
    async fn give_back(&self, until: Option<Instant>) -> Result<(), StorageError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        // An error concerns the checkpoint, too.
        while let Ok(1..) = writer.write(Write::GiveBack).await
            && until.is_none_or(|until| Instant::now() < until)
        {}
        writer.write(Write::Checkpoint).await?;
        Ok(())
    }

    /// One page of matching traces.
    async fn page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        let PageRequest { query, detail, total } = request;
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let count = total.then(|| Select::new(&query));
        let (sql, parameters) = Select::new(&narrowed(query, window.after)).page(window);
        self.readers
            .read(move |connection| {
                let mut page = TracePage::default();
                if let Some(select) = count {
                    let mut statement = connection.prepare_cached(&select.count())?;
                    page.total = Some(statement.query_row(params_from_iter(select.parameters), |row| row.get(0))?);
                }
                if window.limit == 0 {
                    return Ok(page);
                }
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params_from_iter(parameters))?;
                while let Some(row) = rows.next()? {
                    if page.traces.len() == window.limit {
                        // One more trace than requested: another page follows.
                        page.next_page_token = page.traces.last().map(|last| Position::of(last).token());
                        break;
                    }
                    page.traces.push(match detail {
                        Detail::Headers => header::read(row, 1)?,
                        Detail::Traces => complete(connection, row)?,
                    });
                }
                Ok(page)
            })
            .await
    }
}

/// How long closing gives free pages back to the file system. The next program that opens the file goes on.
const GIVE_BACK_AT_CLOSE: Duration = Duration::from_secs(3);

#[async_trait]
impl StorageBackend for SqliteBackend {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        self.readers
            .read(move |connection| find(connection, GET_HEADER, trace_id, |row| complete(connection, row)))
            .await
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query.into()).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        self.readers
            .read(move |connection| match sequence_of(connection, trace_id)? {
                Some(sequence) => events(connection, sequence),
                None => Ok(Vec::new()),
            })
            .await
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.readers.run(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await?;
        let Some(writer) = &self.writer else { return Ok(()) };
        writer.write(Write::Check).await?;
        let path = self.readers.path().to_owned();
        blocking(move || disk::check_room(&path)).await
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        traces.iter().try_for_each(FlowTrace::validate)?;
        let mut headers = Vec::with_capacity(traces.len());
        let mut events = Vec::new();
        for mut trace in traces {
            let trace_id = trace.trace_id;
            for event in std::mem::take(&mut trace.events) {
                events.push(EventRow::new(trace_id, event)?);
            }
            headers.push(HeaderRow::new(trace)?);
        }
        self.writer()?.write(Write::Store { headers, events }).await?;
        Ok(())
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let rows = events.into_iter().map(|(trace_id, event)| EventRow::new(trace_id, event));
        let events = rows.collect::<Result<_, _>>()?;
        self.writer()?.write(Write::Store { headers: Vec::new(), events }).await?;
        Ok(())
    }

    async fn query_page(&self, request: PageRequest) -> Result<TracePage, StorageError> {
        self.page(request).await
    }

    fn stream_events(&self, trace_id: TraceId) -> BoxStream<'_, Result<TraceEvent, StorageError>> {
        stream::events(&self.readers, trace_id)
    }

    fn stream_traces(&self, query: TraceQuery) -> BoxStream<'_, Result<TracePart, StorageError>> {
        stream::traces(&self.readers, query)
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        self.readers
            .read(move |connection| {
                let header = |trace_id| find(connection, GET_HEADER, trace_id, |row| header::read(row, 1));
                trace_ids.into_iter().map(header).collect()
            })
            .await
    }

    async fn delete(&self, deletion: Deletion) -> Result<u64, StorageError> {
        match deletion {
            Deletion::Traces(trace_ids) => {
                let (mut deleted, mut at_once, mut left) = (0, DELETED_AT_ONCE, &trace_ids[..]);
                while !left.is_empty() {
                    let (first, rest) = left.split_at(at_once.min(left.len()));
                    match self.writer()?.write(Write::DeleteTraces(first.to_vec())).await {
                        // On a full disk, the reserve is enough for fewer.
                        Err(StorageError::Exhausted(_)) if first.len() > 1 => at_once = first.len() / 2,
                        outcome => {
                            deleted += outcome?;
                            left = rest;
                        }
                    }
                }
                Ok(deleted)
            }
            Deletion::StartedBefore(time) => {
                let mut deleted = 0;
                loop {
                    let of_batch = self.writer()?.write(Write::DeleteBefore(time::nanos(time))).await?;
                    deleted += of_batch;
                    if of_batch < DELETED_AT_ONCE as u64 {
                        return Ok(deleted);
                    }
                }
            }
        }
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.readers
            .read(|connection| {
                connection.query_row(include_str!("sql/stats.sql"), [], |row| {
                    let time = |column| -> rusqlite::Result<_> {
                        Ok(row.get::<_, Option<i64>>(column)?.map(DateTime::from_timestamp_nanos))
                    };
                    Ok(StorageStats {
                        traces: row.get(0)?,
                        events: row.get(1)?,
                        bytes: row.get(2)?,
                        oldest: time(3)?,
                        newest: time(4)?,
                    })
                })
            })
            .await
    }

    async fn get_metrics(&self) -> Result<StorageMetrics, StorageError> {
        let size = |connection: &Connection| connection.query_row(include_str!("sql/size.sql"), [], |row| row.get(0));
        Ok(StorageMetrics::unmeasured(Some(self.readers.read(size).await?)))
    }

    /// Also gives free pages back to the file system.
    async fn flush(&self) -> Result<(), StorageError> {
        self.give_back(None).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        let flushed = self.give_back(Some(Instant::now() + GIVE_BACK_AT_CLOSE)).await;
        self.readers.close();
        match flushed {
            // Acknowledged writes are in the log, where the next program that opens the file finds them.
            Err(StorageError::Unavailable(reason) | StorageError::Exhausted(reason)) => {
                tracing::info!("closed without a checkpoint: {reason}")
            }
            other => other?,
        }
        Ok(())
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(self)
    }
}

#[async_trait]
impl StorageExtras for SqliteBackend {
    async fn headerless_traces(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, StorageError> {
        self.readers.read(move |connection| headerless(connection, after, limit)).await
    }

    async fn renew_lease(&self, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
        Ok(self.writer()?.write(Write::RenewLease(host, duration)).await? > 0)
    }

    async fn begin_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?.write(Write::Begin(host, rows(headers)?)).await?;
        Ok(())
    }

    async fn leave_traces(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        self.writer()?.write(Write::Leave(host, rows(headers)?)).await?;
        Ok(())
    }

    async fn abandoned_traces(&self, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
        self.readers.read(move |connection| leases::abandoned(connection, limit)).await
    }
}

/// The rows of headers without events.
fn rows(headers: Vec<FlowTrace>) -> Result<Vec<HeaderRow>, StorageError> {
    headers.iter().try_for_each(FlowTrace::validate)?;
    headers.into_iter().map(HeaderRow::new).collect()
}
