//! The floor of ClickHouse's paths: the crate's own inserter, with ready rows, and bare selects.

use anyhow::Result;
use clickhouse::{Client, Compression, Row};
use reflow_tracing::TraceId;
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, StorageBackend};
use serde::{Deserialize, Serialize};

use crate::workload::Batch;

type Id = (u64, u64);

/// A row of the table `events`, for inserts and selects.
#[derive(Row, Serialize, Deserialize)]
pub struct EventRow {
    trace_id: Id,
    timestamp: i64,
    event_id: Id,
    event_type: String,
    actor_id: String,
    to_actor: String,
    to_port: String,
    port: Option<String>,
    error: Option<String>,
    message_type: Option<String>,
    message_size: u64,
    message_checksum: String,
    message_data: String,
    state_kind: String,
    state_before: Option<String>,
    state_after: String,
    execution_time_ns: u64,
    memory_usage_bytes: u64,
    cpu_usage_percent: f32,
    queue_depth: u64,
    throughput_msgs_per_sec: f64,
    attributes: String,
    parent_event_id: Option<Id>,
    root_event_id: Id,
    dependency_chain: Vec<Id>,
    span_uuid: Id,
    span_text: String,
    repeated: bool,
}

/// A database with the backend's schema, used without the backend.
pub struct BareClickHouse {
    client: Client,
}

impl BareClickHouse {
    /// Of a database that the backend may have created already.
    pub async fn open(config: &ClickHouseConfig) -> Result<Self> {
        ClickHouseStorage::with_config(config.clone()).await?.close().await?;
        let client = Client::default()
            .with_url(&config.url)
            .with_database(&config.database)
            .with_compression(Compression::Lz4)
            // The Rust types of the rows are simpler than those of the columns.
            .with_validation(false);
        Ok(Self { client })
    }

    /// Stores rows in batches.
    pub async fn store(&self, rows: &[EventRow], batch: usize) -> Result<()> {
        let mut inserter = self.client.inserter::<EventRow>("events").with_max_rows(batch as u64);
        for row in rows {
            inserter.write(row).await?;
            inserter.commit().await?;
        }
        inserter.end().await?;
        Ok(())
    }

    /// Reads the events of a trace whose times are known. The number of events.
    pub async fn read(&self, trace_id: TraceId, from: i64, to: i64) -> Result<usize> {
        let sql = format!(
            "SELECT {} FROM events WHERE trace_id = toUUID('{trace_id}') AND timestamp >= fromUnixTimestamp64Nano({from}) \
             AND timestamp <= fromUnixTimestamp64Nano({to}) ORDER BY timestamp, event_id",
            EventRow::COLUMN_NAMES.join(", ")
        );
        Ok(self.client.query_raw(&sql).fetch_all::<EventRow>().await?.len())
    }

    /// The events that are stored.
    pub async fn events(&self) -> Result<u64> {
        Ok(self.client.query_raw("SELECT count() FROM events").fetch_one::<u64>().await?)
    }

    /// The size of the events on disk, in bytes.
    pub async fn bytes(&self) -> Result<u64> {
        let sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'events'";
        Ok(self.client.query_raw(sql).fetch_one::<u64>().await?)
    }
}

/// Lets the backend store events and reads their rows back, because the encoding is private to the backend.
pub struct Rows {
    storage: ClickHouseStorage,
    bare: BareClickHouse,
}

impl Rows {
    /// In a database of their own.
    pub async fn new(config: &ClickHouseConfig) -> Result<Self> {
        let bare = BareClickHouse::open(config).await?;
        Ok(Self { storage: ClickHouseStorage::with_config(config.clone()).await?, bare })
    }

    /// The rows of events, in the order of their times.
    pub async fn of(&self, events: &Batch) -> Result<Vec<EventRow>> {
        self.storage.store_events(events.clone()).await?;
        let columns = EventRow::COLUMN_NAMES.join(", ");
        let sql = format!("SELECT {columns} FROM events ORDER BY timestamp");
        let rows = self.bare.client.query_raw(&sql).fetch_all::<EventRow>().await?;
        self.bare.client.query_raw("TRUNCATE TABLE events").execute().await?;
        Ok(rows)
    }
}
