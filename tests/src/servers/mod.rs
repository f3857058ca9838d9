//! Real servers, started by the tests in temporary folders and reached through Unix sockets.

mod postgres;
mod unprivileged;

pub use postgres::Postgres;
