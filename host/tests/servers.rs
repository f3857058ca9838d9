//! Real servers, as the end-to-end tests start them.

#[path = "../../tests/src/servers/postgres.rs"]
#[allow(dead_code)] // What other tests ask of it.
mod postgres;
#[path = "../../tests/src/servers/unprivileged.rs"]
mod unprivileged;

pub use postgres::Postgres;
