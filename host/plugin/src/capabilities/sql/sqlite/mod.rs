//! SQLite files: statements run on threads that may block, on connections that are kept within the file.

mod confine;
mod session;
mod statement;
mod work;

pub(super) use session::SqliteFile;
