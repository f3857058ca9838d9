//! SQLite files. Statements run on blocking threads, on connections that are confined to the file.

mod confine;
mod session;
mod statement;
mod work;

pub(super) use session::SqliteFile;
