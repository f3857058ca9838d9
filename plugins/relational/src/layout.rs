//! The tables: that they are there, and that they are those which this version of the plugin knows.

use reflow_tracing_plugin::sql::{Connection, Error, Value};
use reflow_tracing_plugin::{Result, StorageError};

use crate::dialect::Dialect;
use crate::retrying;

/// What `*/schema.sql` makes.
const VERSION: i64 = 1;

/// Makes the tables where there are none. Fails on those of another version, and leaves them alone.
pub fn ensure(database: &Connection, dialect: &Dialect) -> Result<()> {
    // Nothing is made again for every instance: that would take locks on the tables.
    match version(database) {
        Ok(Some(VERSION)) => return Ok(()),
        Ok(Some(other)) => return Err(unknown(&format!("of layout {other}"))),
        Ok(None) | Err(Error::Database(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Versions before the first layout that was numbered had tables of the same names.
    let answers = |statement: &str| database.query(statement, &[]).and_then(|rows| rows.all());
    if answers("SELECT 1 FROM event LIMIT 1").is_ok()
        && let Err(Error::Database(error)) = answers(dialect.has_layout)
    {
        return Err(unknown(&format!("from before layout 1 ({})", error.message)));
    }
    retrying(|| database.execute(dialect.schema, &[]))?;
    Ok(())
}

/// The version of the tables that are there.
fn version(database: &Connection) -> std::result::Result<Option<i64>, Error> {
    let rows = database.query("SELECT max(version) FROM layout", &[])?.all()?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_integer))
}

fn unknown(found: &str) -> StorageError {
    StorageError::Unsupported(format!(
        "the database holds tables {found} of the plugin `relational`, this version of it has layout {VERSION}: grant it \
         another database, and move the traces there with the version that wrote them"
    ))
}
