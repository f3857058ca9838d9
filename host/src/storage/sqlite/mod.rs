//! Traces in a SQLite file: the default.
//!
//! One thread writes ([`writer`]), any number of readers work beside it. The layout is in `sql/schema.sql`.

mod config;
pub(crate) mod connection;
pub(crate) mod pool;
mod row;
mod schema;
mod select;
mod writer;

use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{StorageBackend, StorageError, StorageStats};
use crate::model::{FlowTrace, Position, TraceEvent, TraceId, TracePage, TraceQuery, encoding, time};
pub use config::{JournalMode, SqliteConfig, SynchronousMode, TempStore};
use pool::{Pool, blocking};
use row::{EventRow, rows};
use select::{Select, narrowed};
use writer::{Write, Writer};

/// Keeps traces in a SQLite file.
///
/// With the default settings everything acknowledged survives the death of the process; what each
/// [`SynchronousMode`] risks when the machine loses power stands there.
pub struct SqliteStorage {
    readers: Pool,
    writer: Writer,
}

impl SqliteStorage {
    /// Opens the file at `path` with the default settings, creating it and its folder when missing.
    pub async fn new(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let database_path = path.to_str().ok_or_else(|| {
            StorageError::Configuration(format!("the path {} is not Unicode; SQLite needs one that is", path.display()))
        })?;
        Self::with_config(SqliteConfig { database_path: database_path.into(), ..SqliteConfig::default() }).await
    }

    /// Opens the file that `config` names, creating it and its folder when missing.
    ///
    /// Fails with [`StorageError::Configuration`] on a file that is no database, is another program's, or was written by
    /// a newer version of this one; the file is left as it is.
    pub async fn with_config(config: SqliteConfig) -> Result<Self, StorageError> {
        blocking(move || {
            let path = Path::new(&config.database_path).to_owned();
            let mut connection = connection::open(&config)?;
            schema::prepare(&mut connection, &path)?;
            Ok(Self { writer: Writer::start(connection, path)?, readers: Pool::new(config, |_| Ok(())) })
        })
        .await
    }

    /// Runs `work` in a read transaction: on one state of the store, whatever is written meanwhile.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.readers
            .run(move |connection| {
                let transaction = connection.transaction()?;
                let result = work(&transaction)?;
                transaction.finish()?;
                Ok(result)
            })
            .await
    }
}

/// A header and its events, as stored.
type Bodies = (Vec<u8>, Vec<Vec<u8>>);

fn event_bodies(connection: &Connection, sequence: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    connection.prepare_cached(include_str!("sql/get_events.sql"))?.query_map([sequence], |row| row.get(0))?.collect()
}

fn decode_events(bodies: Vec<Vec<u8>>) -> Result<Vec<TraceEvent>, StorageError> {
    bodies.iter().map(|body| Ok(encoding::decode_event(body)?)).collect()
}

fn decode_trace((header, events): Bodies) -> Result<FlowTrace, StorageError> {
    Ok(FlowTrace { events: decode_events(events)?, ..encoding::decode_header(&header)? })
}

#[async_trait]
impl StorageBackend for SqliteStorage {
    async fn store_trace(&self, trace: FlowTrace) -> Result<(), StorageError> {
        self.store_traces(vec![trace]).await
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        let bodies = self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT seq, body FROM trace WHERE trace_id = ?1 AND body IS NOT NULL")?
                .query_row(params![trace_id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            found.map(|(sequence, body)| Ok((body, event_bodies(connection, sequence)?))).transpose()
        });
        bodies.await?.map(decode_trace).transpose()
    }

    async fn query_traces(&self, query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        Ok(self.query_page(query).await?.traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        self.store_events(vec![(trace_id, event)]).await
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        let bodies = self.read(move |connection| {
            let sequence = connection
                .prepare_cached("SELECT seq FROM trace WHERE trace_id = ?1")?
                .query_row(params![trace_id.0.as_bytes()], |row| row.get(0))
                .optional()?;
            sequence.map_or(Ok(Vec::new()), |sequence| event_bodies(connection, sequence))
        });
        decode_events(bodies.await?)
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        self.readers.run(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await?;
        self.writer.write(Write::Check).await?;
        Ok(())
    }

    async fn store_traces(&self, traces: Vec<FlowTrace>) -> Result<(), StorageError> {
        let (traces, events) = rows(traces)?;
        self.writer.write(Write::Store { traces, events }).await?;
        Ok(())
    }

    async fn store_events(&self, events: Vec<(TraceId, TraceEvent)>) -> Result<(), StorageError> {
        events.iter().try_for_each(|(_, event)| event.validate())?;
        let events = events.into_iter().map(|(trace_id, event)| EventRow::new(trace_id, event)).collect();
        self.writer.write(Write::Store { traces: Vec::new(), events }).await?;
        Ok(())
    }

    async fn query_page(&self, query: TraceQuery) -> Result<TracePage, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let window = query.window().map_err(StorageError::InvalidArgument)?;
        let (sql, parameters) = Select::new(&narrowed(query, window.after)).page(window);
        let (bodies, more) = self
            .read(move |connection| {
                let mut found: Vec<(i64, Vec<u8>)> = connection
                    .prepare_cached(&sql)?
                    .query_map(params_from_iter(parameters), |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                let more = found.len() > window.limit;
                found.truncate(window.limit);
                let bodies: Vec<Bodies> = found
                    .into_iter()
                    .map(|(sequence, body)| Ok((body, event_bodies(connection, sequence)?)))
                    .collect::<rusqlite::Result<_>>()?;
                Ok((bodies, more))
            })
            .await?;
        let traces = bodies.into_iter().map(decode_trace).collect::<Result<Vec<_>, _>>()?;
        let next_page_token = traces.last().filter(|_| more).map(|last| Position::of(last).token());
        Ok(TracePage { traces, next_page_token })
    }

    async fn count_traces(&self, query: TraceQuery) -> Result<u64, StorageError> {
        query.validate().map_err(StorageError::InvalidArgument)?;
        let select = Select::new(&query);
        self.read(move |connection| {
            connection.prepare_cached(&select.count())?.query_row(params_from_iter(select.parameters), |row| row.get(0))
        })
        .await
    }

    async fn get_headers(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        let bodies: Vec<Option<Vec<u8>>> = self
            .read(move |connection| {
                let mut get = connection.prepare_cached("SELECT body FROM trace WHERE trace_id = ?1")?;
                let body = |trace_id: TraceId| {
                    Ok(get.query_row([trace_id.0.as_bytes()], |row| row.get(0)).optional()?.flatten())
                };
                trace_ids.into_iter().map(body).collect()
            })
            .await?;
        bodies.into_iter().map(|body| body.map(|body| Ok(encoding::decode_header(&body)?)).transpose()).collect()
    }

    async fn delete_trace(&self, trace_id: TraceId) -> Result<bool, StorageError> {
        Ok(self.writer.write(Write::DeleteTrace(trace_id.0.into_bytes())).await? > 0)
    }

    async fn delete_before(&self, time: DateTime<Utc>) -> Result<u64, StorageError> {
        self.writer.write(Write::DeleteBefore(time::nanos(time))).await
    }

    async fn stats(&self) -> Result<StorageStats, StorageError> {
        self.read(|connection| {
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

    async fn flush(&self) -> Result<(), StorageError> {
        self.writer.write(Write::Checkpoint).await?;
        Ok(())
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.flush().await?;
        self.readers.close();
        Ok(())
    }
}
