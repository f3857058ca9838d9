#![doc = include_str!("../README.md")]
//!
//! # Inside
//! A few writers commit what waits in groups (`writer.rs`); events may live in partitions by time (`partition.rs`). The layout
//! is in `sql/schema.sql`, what people see is in `sql/views.sql`.

mod backend;
mod catalog;
mod column;
mod config;
mod connection;
mod copy;
mod database;
mod deletion;
mod escape;
mod event;
mod header;
mod layout;
mod leases;
mod maintenance;
mod partition;
mod placement;
pub mod pooler;
mod read;
mod replica;
mod schema;
mod select;
mod settings;
mod stream;
pub mod url;
mod writer;
mod writer_session;

pub use backend::PostgresStorage;
pub use config::{PartitionInterval, PostgresConfig};
pub use settings::{ServerSettings, SettingAdvice, SettingChange};
