//! Creates, migrates and checks the tables.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::config::SqliteConfig;
use super::connection::describe;
use super::{foreign, read_only};
use reflow_tracing_storage::StorageError;

/// Marks our files in SQLite's header ("RFLT").
const APPLICATION_ID: i32 = 0x5246_4c54;

/// The migrations: entry n brings version n to version n + 1.
const MIGRATIONS: &[&str] = &[include_str!("sql/schema.sql"), include_str!("sql/version_2.sql")];

/// The version of the tables in a file; 0 in an empty one. Rejects the file of another program or a newer version.
fn version(connection: &Connection, path: &Path) -> Result<usize, StorageError> {
    let on_error = |error: rusqlite::Error| describe(path, &error);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(on_error);
    let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
    let is_ours = application_id == APPLICATION_ID;
    if !is_ours && !foreign::is_empty(connection).map_err(on_error)? {
        return Err(foreign::refusal(connection, path).unwrap_or_else(on_error));
    }
    let (version, newest) = (usize::try_from(version).unwrap_or(usize::MAX), MIGRATIONS.len());
    if version > newest && is_ours {
        return Err(StorageError::Configuration(format!(
            "{} has version {version}, but this program supports up to version {newest}: a newer program wrote it; update \
             this one",
            path.display()
        )));
    }
    Ok(if is_ours { version } else { 0 })
}

/// Rejects the file of another program, and changes nothing in it.
pub(super) fn refuse_foreign(config: &SqliteConfig) -> Result<(), StorageError> {
    let path = Path::new(&config.database_path);
    if !path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Ok(());
    }
    match read_only::open(config) {
        Ok(reader) => version(&reader.connection, path).map(|_| ()),
        Err(error) if error.is_retryable() => Err(error),
        // Opening it for writing says more.
        Err(_) => Ok(()),
    }
}

/// Checks that a file can be read: that it has tables of a version that this program knows.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    match version(connection, path)? {
        0 => Err(StorageError::Configuration(format!(
            "{} is a SQLite database without tables, so nothing can be read from it. `reflow-tracing serve` makes it a store; or \
             name another file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Lets a connection to a file of an older version read it like one of the newest: with views of that connection alone.
pub(super) fn read_as_newest(connection: &mut Connection) -> rusqlite::Result<()> {
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))? {
        1 => connection.execute_batch(include_str!("sql/read_version_1.sql")),
        _ => Ok(()),
    }
}

/// What a host creates each time it opens a file, if it is not as it should be.
const EACH_TIME: [&str; 2] = [include_str!("sql/views.sql"), include_str!("sql/leases.sql")];

/// Whether nothing has to be created or migrated.
fn is_prepared(connection: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if pragma("application_id")? != APPLICATION_ID || pragma("user_version")? != newest {
        return Ok(false);
    }
    // SQLite keeps the text of a statement; of CREATE TABLE IF NOT EXISTS, without the condition.
    let known = EACH_TIME.concat().replace(" IF NOT EXISTS", "");
    let mut created = connection.prepare(include_str!("sql/created_each_time.sql"))?;
    let created = created.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(created.len() == 4 && created.iter().all(|statement| known.contains(&format!("{statement};"))))
}

/// Creates the tables in a new file, migrates an older one, and rejects any other. Writes only if something has to change, so that a
/// store opens on a full disk.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let newest = MIGRATIONS.len();
    let on_error = |error: rusqlite::Error| describe(path, &error);
    if is_prepared(connection).map_err(on_error)? {
        return Ok(());
    }
    // Two hosts may start at the same time: the first to get the lock creates the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(on_error)?;
    let version = version(&transaction, path)?;
    if version < newest {
        if version > 0 {
            tracing::info!(
                file = %path.display(),
                "migrating the tables from version {version} to version {newest}; an older program refuses the store afterwards, so \
                 keep a backup from before if you may go back"
            );
        }
        for migration in &MIGRATIONS[version..] {
            transaction.execute_batch(migration).map_err(on_error)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(on_error)?;
        transaction.pragma_update(None, "user_version", newest as u32).map_err(on_error)?;
    }
    for each_time in EACH_TIME {
        transaction.execute_batch(each_time).map_err(on_error)?;
    }
    transaction.commit().map_err(on_error)
}
