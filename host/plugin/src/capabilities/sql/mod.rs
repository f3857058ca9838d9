//! `reflow:capabilities/sql`: databases that the operator granted, by label.
//!
//! A handle to a database does not hold a connection: each call leases one from the plugin's pool, and a transaction keeps
//! the one that it began on. So an idle plugin holds no connection. When an instance ends, its transactions are dropped, and
//! a dropped transaction is rolled back.
//!
//! Each kind of database is a folder that implements [`Database`](database::Database) and
//! [`OpenTransaction`](database::OpenTransaction). A plugin has the rights of the user in the granted URL. SQLite has no users,
//! so the host confines the plugin to the file.

mod cursor;
mod database;
mod error;
mod grants;
mod host;
mod input;
mod mysql;
mod postgres;
mod repeated;
mod rights;
mod server;
mod sqlite;

pub use cursor::Cursor;
pub use database::{Connection, Transaction};
pub(crate) use grants::Databases;
pub use rights::excessive_grants;
