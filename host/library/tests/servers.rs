//! Real servers, as the end-to-end tests start them.

#[cfg(feature = "clickhouse")]
#[path = "../../../tests/src/servers/clickhouse.rs"]
#[allow(dead_code)] // What other tests ask of it.
mod clickhouse;
#[cfg(feature = "postgres")]
#[path = "../../../tests/src/servers/postgres.rs"]
#[allow(dead_code)] // What other tests ask of it.
mod postgres;
#[cfg(feature = "postgres")]
#[path = "../../../tests/src/servers/unprivileged.rs"]
mod unprivileged;

#[cfg(feature = "clickhouse")]
pub use clickhouse::ClickHouse;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
