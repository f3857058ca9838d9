//! Write a storage plugin for reflow-tracing in Rust.
//!
//! Implement [`Backend`] for a type and pass it to [`export!`], in a crate of type `cdylib`.
//!
//! ```
//! use reflow_tracing_plugin::{Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats};
//! use reflow_tracing_plugin::{Trace, TracePage, TraceQuery, Uuid};
//!
//! /// Accepts everything and stores nothing.
//! struct Nowhere;
//!
//! impl Backend for Nowhere {
//!     fn open(_config: &str) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn info(&self) -> Info {
//!         Info { name: "nowhere".into(), version: env!("CARGO_PKG_VERSION").into(), features: vec![] }
//!     }
//!     fn store_traces(&self, _traces: Vec<Trace>) -> Result<()> {
//!         Ok(())
//!     }
//!     fn store_events(&self, _events: &EventBatch) -> Result<()> {
//!         Ok(())
//!     }
//!     fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
//!         Ok(vec![None; ids.len()])
//!     }
//!     fn query_traces(&self, _query: TraceQuery, _page: PageRequest) -> Result<TracePage> {
//!         Ok(TracePage { bodies: vec![], next: None })
//!     }
//!     fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
//!         Ok(EventPage { events: EventBatch::new(), next: None })
//!     }
//!     fn delete_traces(&self, _ids: Vec<Uuid>) -> Result<u64> {
//!         Ok(0)
//!     }
//!     fn stats(&self) -> Result<Stats> {
//!         Ok(Stats { traces: 0, events: 0, bytes: None, oldest: None, newest: None })
//!     }
//!     fn health_check(&self) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! reflow_tracing_plugin::export!(Nowhere);
//! # fn main() {}
//! ```
//!
//! The contract, `wit/deps/storage/backend.wit`, specifies the functions. [`sql`] and [`redis`] reach databases, [`log`] writes to
//! the host's log. A component imports only what it uses.
//!
//! A store that needs work from time to time implements [`Maintenance`], one that drops many traces at once [`Expiry`].
//!
//! [`keyvalue`], [`config`], [`render`], [`secrets`] and [`metrics`] are the host's other capabilities. The feature `http` adds requests to
//! the origins that the operator granted (`http`). The crate `wasip2` has WASI's clocks and random numbers.

mod bindings;
pub mod config;
mod export;
#[cfg(feature = "http")]
pub mod http;
pub mod keyvalue;
pub mod log;
pub mod metrics;
mod optional;
pub mod redis;
pub mod render;
pub mod secrets;
pub mod sql;
mod types;

pub use bindings::exports::reflow::storage::backend::{EventPage, Info};
pub use bindings::reflow::storage::batch::{Blobs, Column, EventBatch, Texts};
pub use bindings::reflow::storage::types::{
    Event, Failure, PageRequest, Stats, Status, StorageError, Timestamp, Trace, TracePage,
    TraceQuery, Uuid,
};
pub use optional::{Expiry, Maintenance};

/// The result of a call into a plugin.
pub type Result<T> = std::result::Result<T, StorageError>;

/// A store for traces. Each instance of the plugin has one value. The host may run several instances concurrently.
///
/// The functions mirror those of the contract, `wit/deps/storage/backend.wit`, which says what each must do.
pub trait Backend: Sized + 'static {
    /// Opens the store. `config` is the plugin's configuration as a JSON object, `{}` when there is none.
    fn open(config: &str) -> Result<Self>;
    /// The plugin's name and version.
    fn info(&self) -> Info;
    /// Stores the headers of traces, replacing earlier ones.
    fn store_traces(&self, traces: Vec<Trace>) -> Result<()>;
    /// Stores events, changing nothing for those that are stored already.
    fn store_events(&self, events: &EventBatch) -> Result<()>;
    /// The bodies of the headers, in the requested order; `None` where no header is stored.
    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>>;
    /// The headers that match, a page at a time.
    fn query_traces(&self, query: TraceQuery, page: PageRequest) -> Result<TracePage>;
    /// The events of a trace by ascending (timestamp, event id), a page at a time.
    fn get_events(&self, trace_id: Uuid, page: PageRequest) -> Result<EventPage>;
    /// Deletes traces with their events. Returns how many existed.
    fn delete_traces(&self, ids: Vec<Uuid>) -> Result<u64>;
    /// Statistics of the store.
    fn stats(&self) -> Result<Stats>;
    /// Fails when the store can't work at the moment.
    fn health_check(&self) -> Result<()>;
}

#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::exports::reflow::storage::backend::Guest;
    pub use crate::bindings::{__export_plugin_impl, exports, reflow};
    pub use crate::export::opened;
    pub use crate::optional::{expiry, maintenance};
}

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the guide, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/writing-a-plugin.md")]
struct Guide;
