//! Creates the tables, and checks that they have the layout of this version of the plugin.

use reflow_tracing_plugin::sql::{Connection, Error, Value};
use reflow_tracing_plugin::{Result, StorageError};

use crate::dialect::Dialect;
use crate::retrying;

/// The layout that `*/schema.sql` creates.
const VERSION: i64 = 1;

/// Creates the tables if they are missing. Fails on tables of another version without changing them.
pub fn ensure(database: &Connection, dialect: &Dialect) -> Result<()> {
    // Only checked for most instances, because creating takes locks on the tables.
    match version(database) {
        Ok(Some(VERSION)) => return Ok(()),
        Ok(Some(other)) => return Err(unknown(&format!("of layout {other}"))),
        Ok(None) | Err(Error::Database(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Versions before layout 1 had tables of the same names.
    let answers = |statement: &str| database.query(statement, &[]).and_then(|rows| rows.all());
    if answers("SELECT 1 FROM event LIMIT 1").is_ok()
        && let Err(Error::Database(error)) = answers(dialect.has_layout)
    {
        return Err(unknown(&format!("from before layout 1 ({})", error.message)));
    }
    retrying(|| database.execute(dialect.schema, &[]))?;
    Ok(())
}

/// The version of the existing tables.
fn version(database: &Connection) -> std::result::Result<Option<i64>, Error> {
    let rows = database.query("SELECT max(version) FROM layout", &[])?.all()?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_integer))
}

fn unknown(found: &str) -> StorageError {
    StorageError::Unsupported(format!(
        "the database has tables {found} of the plugin `relational`, but this version of the plugin has layout {VERSION}: grant it \
         another database, and migrate the traces there with the version that wrote them"
    ))
}
