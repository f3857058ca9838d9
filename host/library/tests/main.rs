//! Tests of the library from outside.

#[cfg(all(feature = "clickhouse", unix))]
mod clickhouse;
mod conformance;
mod conformance_finds_faults;
mod document;
mod memory_accounting;
#[cfg(all(feature = "sqlite", feature = "migration"))]
mod migration;
#[cfg(all(feature = "postgres", unix))]
mod postgres;
#[cfg(all(feature = "sqlite", feature = "migration"))]
mod read_only_files;
#[cfg(all(feature = "redis", unix))]
#[allow(dead_code)] // Other tests use the rest.
#[path = "../../../tests/src/servers/redis.rs"]
mod redis_server;
mod reflow_json;
#[cfg(all(any(feature = "postgres", feature = "clickhouse"), unix))]
mod server_cases;
#[cfg(all(any(feature = "postgres", feature = "clickhouse"), unix))]
mod servers;
#[cfg(all(feature = "sqlite", feature = "migration"))]
mod stored_formats;

/// Counts for each thread by itself, so that tests beside one another don't disturb it.
#[global_allocator]
static ALLOCATOR: memory_accounting::CountingAllocator = memory_accounting::CountingAllocator;
