//! Checks the server's settings and recommends changes.
//!
//! The recommendations are those of the backend's documentation for a machine with 1 GB of memory, scaled to the actual memory,
//! and the settings that acknowledged writes need to be safe.

use std::fmt;

use reflow_tracing_storage::StorageError;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Row};

use super::config::PostgresConfig;
use super::connection::Server;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// The settings of a PostgreSQL server that matter to a trace store.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The server and the database for display, without the password.
    pub server: String,
    /// The version, such as `15.14`.
    pub version: String,
    /// Whether the server runs on this machine.
    pub local: bool,
    settings: Vec<Setting>,
}

/// A setting to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingAdvice {
    /// The name of the setting.
    pub name: &'static str,
    /// The current value.
    pub is: String,
    /// The recommended value in SQL: `'6GB'`, `0.9`.
    pub better: String,
    /// How to change it.
    pub change: SettingChange,
}

/// How to change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingChange {
    /// Takes effect when the server reloads its configuration.
    Reload,
    /// Takes effect when the server restarts.
    Restart,
    /// Was changed already; takes effect when the server restarts.
    Waiting,
    /// Set on the server's command line, which overrides `ALTER SYSTEM`.
    CommandLine,
    /// Set for the role or the database, which overrides `ALTER SYSTEM`.
    RoleOrDatabase,
    /// Set in `connection_url`, which overrides `ALTER SYSTEM`.
    Url,
}

impl SettingChange {
    /// Whether `ALTER SYSTEM` can change the setting.
    pub fn is_altered(self) -> bool {
        matches!(self, Self::Reload | Self::Restart)
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reload => "takes effect immediately",
            Self::Restart => "takes effect when the server restarts",
            Self::Waiting => "was changed; restart the server to apply it",
            Self::CommandLine => "set on the server's command line; change it there",
            Self::RoleOrDatabase => "set by ALTER ROLE or ALTER DATABASE; change it there",
            Self::Url => "set in `connection_url`; change it there",
        })
    }
}

#[derive(Debug, Clone)]
struct Setting {
    name: String,
    value: Value,
    restart: bool,
    source: String,
    pending: bool,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Bytes(u64),
    Number(f64),
    On(bool),
}

/// A recommendation for one setting.
struct Rule {
    name: &'static str,
    better: String,
    /// Whether a value is acceptable.
    does: fn(Value, u64) -> bool,
}

impl PostgresConfig {
    /// Reads the settings of the server at `connection_url`. The tables need not exist.
    pub async fn server_settings(&self) -> Result<ServerSettings, StorageError> {
        let server = Server::primary(self)?;
        let mut connection = server.connect().await?;
        let read = async {
            // Over TCP within one machine, both ends have the same address; over a Unix socket, neither has one.
            let about = sqlx::query(
                "SELECT current_setting('server_version'), inet_server_addr() IS NOT DISTINCT FROM inet_client_addr()",
            );
            let about = about.fetch_one(&mut connection).await?;
            let names: Vec<_> = rules(GB).iter().map(|rule| rule.name).collect();
            let rows = sqlx::query(include_str!("sql/settings.sql")).bind(names).fetch_all(&mut connection).await?;
            let settings = rows.iter().map(Setting::read).collect::<sqlx::Result<_>>()?;
            let (version, local) = (about.try_get(0)?, about.try_get(1)?);
            Ok(ServerSettings { server: server.target.clone(), version, local, settings })
        };
        let settings = read.await.map_err(|error| server.describe(error))?;
        let _ = connection.close().await;
        Ok(settings)
    }
}

impl ServerSettings {
    /// The settings to change on a machine with this much memory in bytes.
    pub fn advice(&self, memory: u64) -> Vec<SettingAdvice> {
        let of = |rule: Rule| {
            let setting = self.settings.iter().find(|setting| setting.name == rule.name)?;
            (!(rule.does)(setting.value, memory)).then(|| SettingAdvice {
                name: rule.name,
                is: setting.text.clone(),
                better: rule.better,
                change: setting.change(),
            })
        };
        rules(memory).into_iter().filter_map(of).collect()
    }
}

/// The recommendations for a machine with this much memory in bytes.
fn rules(memory: u64) -> Vec<Rule> {
    /// Whether the value is between these fractions of the memory.
    fn within(value: Value, memory: u64, least: f64, most: f64) -> bool {
        let Value::Bytes(bytes) = value else { return false };
        let part = bytes as f64 / memory as f64;
        (least..=most).contains(&part)
    }
    fn on(value: Value, _memory: u64) -> bool {
        value == Value::On(true)
    }
    let rule = |name, better, does| Rule { name, better, does };
    vec![
        rule("shared_buffers", size(memory / 4), |value, memory| within(value, memory, 0.18, 0.4)),
        rule("effective_cache_size", size(memory / 4 * 3), |value, memory| within(value, memory, 0.5, 1.0)),
        rule("maintenance_work_mem", size(maintenance(memory)), |value, memory| {
            let right = maintenance(memory);
            matches!(value, Value::Bytes(bytes) if (right / 2..=right * 2).contains(&bytes))
        }),
        rule(
            "wal_buffers",
            size(wal_buffers(memory)),
            |value, memory| matches!(value, Value::Bytes(bytes) if bytes >= wal_buffers(memory)),
        ),
        rule(
            "checkpoint_completion_target",
            "0.9".into(),
            |value, _| matches!(value, Value::Number(target) if target >= 0.9),
        ),
        rule(
            "default_statistics_target",
            "100".into(),
            |value, _| matches!(value, Value::Number(target) if target >= 100.0),
        ),
        rule("fsync", "on".into(), on),
        rule("full_page_writes", "on".into(), on),
        rule("synchronous_commit", "on".into(), on),
        rule("autovacuum", "on".into(), on),
    ]
}

/// More memory does not make vacuum or new indexes faster.
fn maintenance(memory: u64) -> u64 {
    (memory / 16).min(2 * GB - MB)
}

/// The log is written in segments of 16 MB.
fn wal_buffers(memory: u64) -> u64 {
    (memory / 64).min(16 * MB)
}

/// A size in PostgreSQL's syntax.
fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= GB && bytes.is_multiple_of(GB) => format!("'{}GB'", bytes / GB),
        bytes if bytes >= MB => format!("'{}MB'", bytes / MB),
        bytes => format!("'{}kB'", (bytes / KB).max(64)),
    }
}

impl Setting {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let (setting, unit): (&str, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
        Ok(Self {
            name: row.try_get(0)?,
            value: Value::parse(setting, unit)
                .ok_or_else(|| sqlx::Error::Decode(format!("a setting has the unexpected value {setting:?}").into()))?,
            restart: row.try_get(3)?,
            source: row.try_get(4)?,
            pending: row.try_get(5)?,
            text: row.try_get(6)?,
        })
    }

    fn change(&self) -> SettingChange {
        match self.source.as_str() {
            "command line" | "environment variable" => SettingChange::CommandLine,
            "user" | "database" | "database user" | "global" => SettingChange::RoleOrDatabase,
            "client" => SettingChange::Url,
            _ if self.pending => SettingChange::Waiting,
            _ if self.restart => SettingChange::Restart,
            _ => SettingChange::Reload,
        }
    }
}

impl Value {
    fn parse(text: &str, unit: Option<&str>) -> Option<Self> {
        let factor = match unit {
            None => None,
            Some("kB") => Some(KB),
            Some("8kB") => Some(8 * KB),
            Some("MB") => Some(MB),
            // Another page size.
            Some(unit) => Some(unit.strip_suffix("kB")?.parse::<u64>().ok()? * KB),
        };
        Some(match (factor, text) {
            (Some(factor), text) => Self::Bytes(text.parse::<u64>().ok()?.saturating_mul(factor)),
            (None, "off") => Self::On(false),
            // Includes the values of synchronous_commit that wait for the local disk.
            (None, "on" | "local" | "remote_write" | "remote_apply") => Self::On(true),
            (None, text) => Self::Number(text.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str, Option<&str>)]) -> ServerSettings {
        let setting = |(name, setting, unit): &(&str, &str, Option<&str>)| Setting {
            name: (*name).into(),
            value: Value::parse(setting, *unit).unwrap(),
            restart: *name == "shared_buffers",
            source: "configuration file".into(),
            pending: false,
            text: (*setting).into(),
        };
        let settings = values.iter().map(setting).collect();
        ServerSettings { server: "a server".into(), version: "15.1".into(), local: true, settings }
    }

    fn names(advice: &[SettingAdvice]) -> Vec<&str> {
        advice.iter().map(|advice| advice.name).collect()
    }

    /// The documented values for 1 GB.
    const DOCUMENTED: [(&str, &str, Option<&str>); 6] = [
        ("shared_buffers", "32768", Some("8kB")),
        ("effective_cache_size", "131072", Some("8kB")),
        ("maintenance_work_mem", "65536", Some("kB")),
        ("checkpoint_completion_target", "0.9", None),
        ("wal_buffers", "2048", Some("8kB")),
        ("default_statistics_target", "100", None),
    ];

    #[test]
    fn the_documented_list_is_right_for_a_gigabyte_and_not_for_a_large_machine() {
        assert_eq!(settings(&DOCUMENTED).advice(GB), []);
        let advice = settings(&DOCUMENTED).advice(64 * GB);
        let better: Vec<_> = advice.iter().map(|advice| (advice.name, advice.better.as_str())).collect();
        assert_eq!(
            better,
            [("shared_buffers", "'16GB'"), ("effective_cache_size", "'48GB'"), ("maintenance_work_mem", "'2047MB'")]
        );
        assert_eq!(advice[0].change, SettingChange::Restart);
        assert_eq!(advice[1].change, SettingChange::Reload);
    }

    #[test]
    fn what_is_advised_is_right_afterwards() {
        for memory in [64 * MB, 500 * MB, GB, 3 * GB + 12_345, 24 * GB, 2_048 * GB] {
            for rule in rules(memory) {
                let value = match rule.better.trim_matches('\'') {
                    text if text.ends_with('B') => {
                        let (number, unit) = text.split_at(text.len() - 2);
                        let factor = match unit {
                            "GB" => GB,
                            "MB" => MB,
                            _ => KB,
                        };
                        Value::Bytes(number.parse::<u64>().unwrap() * factor)
                    }
                    text => Value::parse(text, None).unwrap(),
                };
                // Sizes are rounded down, to the megabyte mostly.
                let rounded = match value {
                    Value::Bytes(bytes) if rule.name == "wal_buffers" => Value::Bytes(bytes + MB - 1),
                    value => value,
                };
                assert!((rule.does)(rounded, memory), "{} = {} with {memory} bytes", rule.name, rule.better);
            }
        }
    }

    #[test]
    fn settings_that_endanger_acknowledged_writes_are_reported() {
        let advice = settings(&[
            ("fsync", "off", None),
            ("full_page_writes", "on", None),
            ("synchronous_commit", "local", None),
            ("autovacuum", "off", None),
        ])
        .advice(GB);
        assert_eq!(names(&advice), ["fsync", "autovacuum"]);
    }
}
