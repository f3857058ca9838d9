//! What a plugin may export beside its backend: traits to implement, and to name in [`export!`](crate::export!).

use crate::{Backend, Result, Timestamp};

/// Work that a store needs from time to time, such as merging small files: `export!(Store, maintenance)`.
pub trait Maintenance: Backend {
    /// Does some of the work, within the time limit of a call. The host calls it about once a minute.
    fn maintain(&self) -> Result<()>;
}

/// Retention of a store that drops many traces at once more cheaply than one by one: `export!(Store, expiry)`.
pub trait Expiry: Backend {
    /// Drops the oldest partition that holds traces, with their events, if every trace in it started before `ended_by`. Returns
    /// how many traces it held; 0 when none is left.
    fn drop_oldest(&self, ended_by: Timestamp) -> Result<u64>;
}

#[allow(missing_docs, clippy::all)]
pub mod maintenance {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reflow:optional; world maintenance { export reflow:storage/maintenance@0.1.1; }",
        world: "reflow:optional/maintenance",
        with: { "reflow:storage/types@0.1.1": crate::bindings::reflow::storage::types },
        pub_export_macro: true,
        export_macro_name: "__export_maintenance_impl",
        default_bindings_module: "reflow_tracing_plugin::__private::maintenance",
    });
}

#[allow(missing_docs, clippy::all)]
pub mod expiry {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reflow:optional; world expiry { export reflow:storage/expiry@0.1.1; }",
        world: "reflow:optional/expiry",
        with: { "reflow:storage/types@0.1.1": crate::bindings::reflow::storage::types },
        pub_export_macro: true,
        export_macro_name: "__export_expiry_impl",
        default_bindings_module: "reflow_tracing_plugin::__private::expiry",
    });
}
