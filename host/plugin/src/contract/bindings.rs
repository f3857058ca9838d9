//! Generated from the contract in `wit/`.
#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "reflow:capabilities/plugin",
    imports: {
        // Only functions that wait are async, because a synchronous call costs less.
        "reflow:capabilities/sql": async | trappable,
        "reflow:capabilities/keyvalue": async | trappable,
        "reflow:capabilities/secrets": async | trappable,
        "reflow:capabilities/redis": async | trappable,
        // Long work lets others run.
        "reflow:capabilities/render": async | trappable,
        "reflow:storage/batch.[method]event-batch.columns": async | trappable,
        "reflow:storage/batch.[method]event-batch.events": async | trappable,
        "reflow:storage/batch.[method]event-batch.push": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "reflow:capabilities/redis.connection": crate::capabilities::redis::Connection,
        "reflow:storage/batch.event-batch": crate::contract::batch::EventBatch,
        "reflow:capabilities/sql.connection": crate::capabilities::sql::Connection,
        "reflow:capabilities/sql.transaction": crate::capabilities::sql::Transaction,
        "reflow:capabilities/sql.cursor": crate::capabilities::sql::Cursor,
        "reflow:capabilities/keyvalue.bucket": crate::capabilities::keyvalue::Bucket,
    },
});
