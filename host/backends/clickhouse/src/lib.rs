#![doc = include_str!("../README.md")]
//!
//! # Inside
//! Writes are gathered into batches (`writer.rs`), which are inserted so that a retry changes nothing (`batch.rs`). Nothing is
//! ever changed in place: reads pick the rows that count (`event.rs`, `search.rs`), wherever merges stand. A lookup by trace id
//! leads them to the few rows that they need (`lookup.rs`). The layout is in `sql/1_tables.sql`.

mod backend;
mod batch;
mod config;
mod connection;
mod delete;
mod event;
mod header;
mod leases;
mod literal;
mod lookup;
mod metrics;
mod read;
mod repeats;
mod schema;
mod search;
mod select;
mod stream;
mod tables;
mod writer;

pub use backend::ClickHouseStorage;
pub use config::{ClickHouseConfig, CompressionMethod};
pub use metrics::{EventMetrics, EventMetricsQuery, EventsPerMinute, ExecutionTimeQuantiles};
