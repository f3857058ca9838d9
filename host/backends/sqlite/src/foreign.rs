//! Says whose a SQLite file is that this program did not write.

use std::path::Path;

use reflow_tracing_storage::StorageError;
use rusqlite::Connection;

/// The tables that the error names.
const NAMED: usize = 5;

/// Whether the file holds nothing.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// The error for the file at `path`: what it is, and what to do.
pub(super) fn refusal(connection: &Connection, path: &Path) -> rusqlite::Result<StorageError> {
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let has = |names: &[&str]| names.iter().all(|name| tables.iter().any(|table| table == name));
    let file = path.display();
    let problem = if has(&["traces", "trace_events"]) && is_of_reflow(connection)? {
        let from = shell_word(&format!("sqlite:{file}"));
        format!(
            "{file} was written by Reflow's own tracing server. Copy its traces into a store of this program with \
             `reflow-tracing migrate --from {from} --to sqlite:migrated.db`, then use that file"
        )
    } else if has(&["trace", "event", "tag", "layout"]) {
        format!(
            "{file} was written by the plugin `relational`. Open it with `--store plugin:relational`, and with \
             `grants = {{ sql = {{ default = {:?} }} }}` in `[plugins.relational]` of the configuration",
            format!("sqlite:{file}")
        )
    } else {
        format!("{file} is a SQLite database of another program{}; name another file", with_tables(&tables))
    };
    Ok(StorageError::Configuration(problem))
}

fn is_of_reflow(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT (SELECT count(*) FROM pragma_table_info('traces') WHERE name IN ('trace_id', 'flow_id', 'start_time')) = 3
        AND (SELECT count(*) FROM pragma_table_info('trace_events') WHERE name IN ('event_id', 'actor_id', 'data')) = 3";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The names of the first tables, as the end of a sentence.
fn with_tables(tables: &[String]) -> String {
    let named: Vec<_> = tables.iter().take(NAMED).map(|table| format!("{table:?}")).collect();
    match tables.len() {
        0 => String::new(),
        1 => format!(", with the table {}", named[0]),
        count if count > NAMED => format!(", with the tables {} and {} more", named.join(", "), count - NAMED),
        _ => format!(", with the tables {}", named.join(", ")),
    }
}

/// `text` as one word of a shell.
fn shell_word(text: &str) -> String {
    let is_plain = text.chars().all(|character| character.is_alphanumeric() || "/:._-".contains(character));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
