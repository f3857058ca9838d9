//! Real servers, started by the tests in temporary folders and reached through Unix sockets.

mod mariadb;
mod postgres;
mod unprivileged;

pub use mariadb::MariaDb;
pub use postgres::Postgres;
