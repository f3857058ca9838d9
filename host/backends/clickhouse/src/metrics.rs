//! Event metrics per minute, from the materialized view that the server updates as events are stored.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use reflow_tracing_model::{TraceEventKind, time};
use reflow_tracing_storage::StorageError;
use serde::Deserialize;

use super::connection::Server;
use super::literal;

/// Selects events. The default selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventMetricsQuery {
    /// Events between the minutes of these times, both included.
    pub time_range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Events of this actor.
    pub actor_id: Option<String>,
    /// Events of this kind.
    pub event_type: Option<TraceEventKind>,
}

impl EventMetricsQuery {
    fn filter(&self) -> Result<String, StorageError> {
        let mut conditions = Vec::new();
        if let Some((from, to)) = self.time_range {
            if from > to {
                return Err(StorageError::InvalidArgument(format!(
                    "time_range ends ({to}) before it starts ({from}); swap the two times"
                )));
            }
            conditions.push(format!("toUnixTimestamp64Second(minute) >= {}", minute(from)));
            conditions.push(format!("toUnixTimestamp64Second(minute) <= {}", minute(to)));
        }
        if let Some(actor_id) = &self.actor_id {
            conditions.push(format!("actor_id = {}", literal::text(actor_id)));
        }
        if let Some(event_type) = self.event_type {
            conditions.push(format!("event_type = '{event_type}'"));
        }
        Ok(if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) })
    }
}

/// The start of the minute of a time, in seconds since 1970.
fn minute(at: DateTime<Utc>) -> i64 {
    time::nanos(at).div_euclid(60_000_000_000) * 60
}

/// The number of events in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsPerMinute {
    /// The start of the minute.
    pub minute: DateTime<Utc>,
    /// How many there were.
    pub events: u64,
}

/// Statistics of the events of one actor and kind.
#[derive(Debug, Clone, PartialEq)]
pub struct EventMetrics {
    /// The actor.
    pub actor_id: String,
    /// The kind.
    pub event_type: TraceEventKind,
    /// How many there were.
    pub events: u64,
    /// The total size of their messages in bytes.
    pub message_bytes: u64,
    /// The average of the measured execution times in nanoseconds; `None` when none was measured.
    pub avg_execution_time_ns: Option<f64>,
    /// The maximum of the measured execution times in nanoseconds.
    pub max_execution_time_ns: Option<u64>,
    /// Quantiles of the measured execution times in nanoseconds, estimated with t-digests to within about one percent.
    pub quantiles_execution_time_ns: Option<ExecutionTimeQuantiles>,
}

/// Quantiles of execution times, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub struct ExecutionTimeQuantiles {
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
}

/// The events per minute, ascending, without minutes that have none.
pub(super) async fn per_minute(
    server: &Server,
    query: &EventMetricsQuery,
) -> Result<Vec<EventsPerMinute>, StorageError> {
    let sql = format!(
        "SELECT toUnixTimestamp64Second(minute) AS second, sum(events) FROM {} {} GROUP BY second ORDER BY second",
        server.tables.metrics,
        query.filter()?
    );
    let rows: Vec<(i64, u64)> = server.rows(&sql).await?;
    let minutes = rows.into_iter().map(|(second, events)| {
        let minute = DateTime::from_timestamp(second, 0).ok_or_else(|| {
            StorageError::Corrupt(format!("event_metrics contains the minute {second}, which is not a valid time"))
        })?;
        Ok(EventsPerMinute { minute, events })
    });
    minutes.collect()
}

#[derive(Row, Deserialize)]
struct Found {
    actor_id: String,
    event_type: String,
    events: u64,
    message_bytes: u64,
    avg_execution_time: f64,
    max_execution_time: u64,
    quantiles: Vec<f32>,
}

/// Ordered by actor, then by the name of the kind.
pub(super) async fn per_actor(server: &Server, query: &EventMetricsQuery) -> Result<Vec<EventMetrics>, StorageError> {
    let sql = format!(
        "SELECT actor_id, event_type, sum(events), sum(message_bytes), avgMerge(avg_execution_time), \
         max(max_execution_time), quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(quantiles_execution_time) \
         FROM {} {} GROUP BY actor_id, event_type ORDER BY actor_id, event_type",
        server.tables.metrics,
        query.filter()?
    );
    let rows: Vec<Found> = server.rows(&sql).await?;
    rows.into_iter().map(Found::metrics).collect()
}

impl Found {
    fn metrics(self) -> Result<EventMetrics, StorageError> {
        let [p50, p90, p95, p99] = self.quantiles.as_slice() else {
            return Err(StorageError::Corrupt("event_metrics has other quantiles than this program expects".into()));
        };
        let [p50, p90, p95, p99] = [p50, p90, p95, p99].map(|nanoseconds| f64::from(*nanoseconds));
        // The server's average of nothing.
        let is_measured = !self.avg_execution_time.is_nan();
        Ok(EventMetrics {
            actor_id: self.actor_id,
            event_type: self.event_type.parse().map_err(StorageError::Corrupt)?,
            events: self.events,
            message_bytes: self.message_bytes,
            avg_execution_time_ns: is_measured.then_some(self.avg_execution_time),
            max_execution_time_ns: is_measured.then_some(self.max_execution_time),
            quantiles_execution_time_ns: is_measured.then_some(ExecutionTimeQuantiles { p50, p90, p95, p99 }),
        })
    }
}
