//! Real servers, as the end-to-end tests start them.

#[cfg(feature = "clickhouse")]
#[path = "../../../tests/src/servers/clickhouse.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod clickhouse;
#[cfg(feature = "postgres")]
#[path = "../../../tests/src/servers/pgbouncer.rs"]
mod pgbouncer;
#[cfg(feature = "postgres")]
#[path = "../../../tests/src/servers/postgres.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod postgres;
#[cfg(any(feature = "clickhouse", feature = "postgres"))]
#[path = "../../../tests/src/servers/shared.rs"]
mod shared;
#[cfg(feature = "postgres")]
#[path = "../../../tests/src/servers/unprivileged.rs"]
mod unprivileged;

#[cfg(feature = "clickhouse")]
pub use clickhouse::ClickHouse;
#[cfg(feature = "postgres")]
pub use pgbouncer::PgBouncer;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
