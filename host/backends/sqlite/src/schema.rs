//! Creates, migrates and checks the tables.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::connection::describe;
use reflow_tracing_storage::StorageError;

/// Marks our files in SQLite's header ("RFLT").
const APPLICATION_ID: i32 = 0x5246_4c54;

/// The migrations: entry n brings version n to version n + 1.
const MIGRATIONS: &[&str] = &[include_str!("sql/schema.sql"), include_str!("sql/version_2.sql")];

/// Creates the tables in a new file, migrates an older one, and rejects any other.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let newest = MIGRATIONS.len();
    let on_error = |error: rusqlite::Error| describe(path, &error);
    // Two hosts may start at the same time: the first to get the lock creates the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(on_error)?;
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(on_error);
    let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: u32 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(on_error)?;
    let file = path.display();
    if application_id != APPLICATION_ID && tables > 0 {
        return Err(StorageError::Configuration(format!(
            "{file} is a SQLite database of another program; name another file"
        )));
    }
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > newest {
        return Err(StorageError::Configuration(format!(
            "{file} has version {version}, but this program supports up to version {newest}: a newer program wrote it; update this one"
        )));
    }
    if version < newest {
        for migration in &MIGRATIONS[version..] {
            transaction.execute_batch(migration).map_err(on_error)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(on_error)?;
        transaction.pragma_update(None, "user_version", newest as u32).map_err(on_error)?;
    }
    for each_time in [include_str!("sql/views.sql"), include_str!("sql/leases.sql")] {
        transaction.execute_batch(each_time).map_err(on_error)?;
    }
    transaction.commit().map_err(on_error)
}
