//! Environment variables, with Reflow's names.

use std::ffi::OsString;

use super::error::ConfigError;
use super::settings::Config;

const PREFIX: &str = "REFLOW_TRACING_";

const NOT_EMPTY: &str = "a text that is not empty";

struct Variable {
    name: &'static str,
    expected: &'static str,
    /// Applies the value; `None` when it is invalid.
    set: fn(&mut Config, &str) -> Option<()>,
}

const VARIABLES: &[Variable] = &[
    Variable {
        name: "REFLOW_TRACING_HOST",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.server.host = not_empty(value)?;
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_PORT",
        expected: "a port from 0 to 65535",
        set: |config, value| {
            config.server.port = value.parse().ok()?;
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_STORAGE_BACKEND",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.backend = not_empty(value)?.into();
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_SQLITE_PATH",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.sqlite.database_path = not_empty(value)?;
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_POSTGRES_URL",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.postgres.connection_url = not_empty(value)?;
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_CLICKHOUSE_URL",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.clickhouse.url = not_empty(value)?;
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_CLICKHOUSE_PASSWORD",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.clickhouse.password = Some(not_empty(value)?);
            Some(())
        },
    },
    Variable {
        name: "REFLOW_TRACING_POSTGRES_READ_REPLICA_URL",
        expected: NOT_EMPTY,
        set: |config, value| {
            config.storage.postgres.read_replica_url = Some(not_empty(value)?);
            Some(())
        },
    },
];

fn not_empty(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn known_names() -> String {
    VARIABLES.iter().map(|variable| variable.name).collect::<Vec<_>>().join(", ")
}

/// Overrides the settings that the variables name. Ignores the variables of other programs.
pub(super) fn apply(
    config: &mut Config,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let variable = VARIABLES
            .iter()
            .find(|variable| variable.name == name)
            .ok_or_else(|| ConfigError::UnknownVariable { name: name.clone().into_owned(), known: known_names() })?;
        value.to_str().and_then(|value| (variable.set)(config, value)).ok_or_else(|| ConfigError::InvalidVariable {
            name: variable.name,
            value: value.to_string_lossy().into_owned(),
            expected: variable.expected,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::backend::Backend;

    fn apply_to_default(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        apply(&mut config, variables.iter().map(|(name, value)| (name.into(), value.into())))?;
        Ok(config)
    }

    #[test]
    fn variables_override_the_file() {
        let config = apply_to_default(&[
            ("PATH", "/bin"),
            ("REFLOW_TRACING_HOST", "0.0.0.0"),
            ("REFLOW_TRACING_PORT", "9000"),
            ("REFLOW_TRACING_STORAGE_BACKEND", "memory"),
        ])
        .unwrap();
        assert_eq!(config.server.address(), "0.0.0.0:9000");
        assert_eq!(config.storage.backend, Backend::from("memory"));
    }

    #[test]
    fn the_sqlite_path_has_a_variable() {
        let config = apply_to_default(&[("REFLOW_TRACING_SQLITE_PATH", "other.db")]).unwrap();
        assert_eq!(config.storage.sqlite.database_path, "other.db");
    }

    #[test]
    fn the_postgres_urls_have_variables() {
        let config = apply_to_default(&[("REFLOW_TRACING_POSTGRES_URL", "postgresql://other/db")]).unwrap();
        assert_eq!(config.storage.postgres.connection_url, "postgresql://other/db");
        assert_eq!(config.storage.postgres.read_replica_url, None);
        let config =
            apply_to_default(&[("REFLOW_TRACING_POSTGRES_READ_REPLICA_URL", "postgresql://replica/db")]).unwrap();
        assert_eq!(config.storage.postgres.read_replica_url.as_deref(), Some("postgresql://replica/db"));
    }

    #[test]
    fn the_clickhouse_url_and_password_have_variables() {
        let config = apply_to_default(&[
            ("REFLOW_TRACING_CLICKHOUSE_URL", "http://other:8123"),
            ("REFLOW_TRACING_CLICKHOUSE_PASSWORD", "secret"),
        ])
        .unwrap();
        assert_eq!(config.storage.clickhouse.url, "http://other:8123");
        assert_eq!(config.storage.clickhouse.password.as_deref(), Some("secret"));
    }

    #[test]
    fn an_invalid_value_is_reported_with_its_variable() {
        let message = apply_to_default(&[("REFLOW_TRACING_PORT", "eighty")]).unwrap_err().to_string();
        assert!(message.contains("REFLOW_TRACING_PORT") && message.contains("eighty"), "{message}");
        assert!(message.contains("0 to 65535"), "{message}");
        assert!(apply_to_default(&[("REFLOW_TRACING_HOST", "")]).is_err());
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_known_ones() {
        let message = apply_to_default(&[("REFLOW_TRACING_PROT", "1")]).unwrap_err().to_string();
        assert!(message.contains("REFLOW_TRACING_PROT") && message.contains("REFLOW_TRACING_PORT"), "{message}");
    }
}
