//! Servers that tests start, in temporary folders. All are real but `opensearch`.

mod authority;
mod clickhouse;
mod mariadb;
mod opensearch;
mod pgbouncer;
mod postgres;
mod redis;
mod registry;
mod shared;
mod unprivileged;

pub use authority::{Authority, Certificate};
pub use clickhouse::ClickHouse;
pub use mariadb::MariaDb;
pub use opensearch::OpenSearch;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use redis::RedisServer;
pub use registry::Registry;
