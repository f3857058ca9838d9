//! The floor of PostgreSQL's paths: COPY of ready rows into the same tables and indexes, and bare prepared selects.

use std::hint::black_box;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use reflow_tracing::TraceId;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

use crate::workload::Batch;

const GET_HEADER: &str = include_str!("../../host/backends/postgres/src/sql/get_header.sql");
const GET_EVENTS: &str = include_str!("../../host/backends/postgres/src/sql/get_events.sql");

/// A connection to a schema of the backend's.
pub struct BarePostgres {
    connection: PgConnection,
}

impl BarePostgres {
    /// To a schema that the backend may have created already.
    pub async fn open(config: &PostgresConfig) -> Result<Self> {
        PostgresStorage::with_config(config.clone()).await?.close().await?;
        let options: PgConnectOptions = config.connection_url.parse()?;
        let options = options.options([("search_path", &config.schema_name)]);
        Ok(Self { connection: options.disable_statement_logging().connect().await? })
    }

    /// Stores parts of rows, each with its own COPY.
    pub async fn store(&mut self, parts: &[Vec<u8>]) -> Result<()> {
        for part in parts {
            let mut copy = self.connection.copy_in_raw("COPY event FROM STDIN (FORMAT binary)").await?;
            copy.send(part.as_slice()).await?;
            copy.finish().await?;
        }
        Ok(())
    }

    /// Reads every column of a trace's header and events. The number of events.
    pub async fn read(&mut self, trace_id: TraceId) -> Result<usize> {
        let header = sqlx::query(GET_HEADER).bind(*trace_id.as_uuid()).fetch_one(&mut self.connection).await?;
        read_columns(&header)?;
        let (sequence, placed_at): (i64, i64) = (header.try_get(0)?, header.try_get(1)?);
        let events = sqlx::query(GET_EVENTS).bind(sequence).bind(placed_at).fetch_all(&mut self.connection).await?;
        events.iter().try_for_each(read_columns)?;
        Ok(events.len())
    }

    /// The events that are stored.
    pub async fn events(&mut self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM event").fetch_one(&mut self.connection).await?;
        Ok(count.cast_unsigned())
    }
}

fn read_columns(row: &PgRow) -> Result<()> {
    for column in 0..row.len() {
        let bytes = row.try_get_raw(column)?.as_bytes().map(<[u8]>::to_vec);
        // NULL has no bytes.
        let _ = black_box(bytes);
    }
    Ok(())
}

/// The order of rows within what is stored.
#[derive(Clone, Copy)]
pub enum Order {
    /// One trace after the other.
    Traces,
    /// The first event of every trace, then the second of every one.
    Turns,
}

/// Lets the backend store events and reads their rows back, because the encoding is private to the backend.
pub struct Rows {
    storage: PostgresStorage,
    bare: BarePostgres,
    last_trace: i64,
}

impl Rows {
    /// In a schema of their own.
    pub async fn new(config: &PostgresConfig) -> Result<Self> {
        let bare = BarePostgres::open(config).await?;
        Ok(Self { storage: PostgresStorage::with_config(config.clone()).await?, bare, last_trace: 0 })
    }

    /// The rows of events of new traces, `size` a part, as COPY takes them.
    pub async fn of(&mut self, events: &Batch, order: Order, size: usize) -> Result<Vec<Vec<u8>>> {
        for batch in events.chunks(size) {
            self.storage.store_events(batch.to_vec()).await?;
        }
        let order = match order {
            Order::Traces => "trace, occurred_at, event_id",
            Order::Turns => "turn, trace",
        };
        let connection = &mut self.bare.connection;
        let number = format!(
            "CREATE TEMPORARY TABLE numbered AS SELECT row_number() OVER (ORDER BY {order}) - 1 AS number, \
             event_row.* FROM (SELECT event.*, row_number() OVER (PARTITION BY trace ORDER BY occurred_at, event_id) \
             AS turn FROM event WHERE trace > {}) AS event_row; CREATE UNIQUE INDEX ON numbered (number)",
            self.last_trace
        );
        sqlx::raw_sql(AssertSqlSafe(number)).execute(&mut *connection).await?;
        let columns: String = sqlx::query_scalar(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = 'event'::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .fetch_one(&mut *connection)
        .await?;
        let mut parts = Vec::new();
        for first in (0..events.len()).step_by(size) {
            let copy = format!(
                "COPY (SELECT {columns} FROM numbered WHERE number >= {first} AND number < {} ORDER BY number) \
                 TO STDOUT (FORMAT binary)",
                first + size
            );
            let rows: Vec<_> = connection.copy_out_raw(&copy).await?.try_collect().await?;
            parts.push(rows.concat());
        }
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(trace) FROM numbered").fetch_one(&mut *connection).await?;
        self.last_trace = last.context("the backend stored nothing")?;
        sqlx::raw_sql("DROP TABLE numbered").execute(&mut *connection).await?;
        Ok(parts)
    }
}
