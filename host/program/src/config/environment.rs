//! Environment variables, with Reflow's names.

use std::ffi::OsString;

use super::error::ConfigError;
use super::settings::Config;

const PREFIX: &str = "REFLOW_TRACING_";

/// Puts a value into the configuration. The error describes the valid values.
type Set = fn(&mut Config, &str) -> Result<(), &'static str>;

const VARIABLES: &[(&str, Set)] = &[
    ("REFLOW_TRACING_HOST", |config, value| text(value).map(|host| config.server.host = host)),
    ("REFLOW_TRACING_PORT", |config, value| port(value).map(|port| config.server.port = port)),
    ("REFLOW_TRACING_STORAGE_BACKEND", |config, value| text(value).map(|name| config.storage.backend = name.into())),
    ("REFLOW_TRACING_SQLITE_PATH", |config, value| text(value).map(|path| config.storage.sqlite.database_path = path)),
    ("REFLOW_TRACING_POSTGRES_URL", |config, value| {
        text(value).map(|url| config.storage.postgres.connection_url = url)
    }),
    ("REFLOW_TRACING_CLICKHOUSE_URL", |config, value| text(value).map(|url| config.storage.clickhouse.url = url)),
    ("REFLOW_TRACING_CLICKHOUSE_PASSWORD", |config, value| {
        text(value).map(|password| config.storage.clickhouse.password = Some(password))
    }),
    ("REFLOW_TRACING_POSTGRES_READ_REPLICA_URL", |config, value| {
        text(value).map(|url| config.storage.postgres.read_replica_url = Some(url))
    }),
];

fn text(value: &str) -> Result<String, &'static str> {
    if value.is_empty() { Err("a text that is not empty") } else { Ok(value.to_owned()) }
}

fn port(value: &str) -> Result<u16, &'static str> {
    value.parse().map_err(|_| "a port from 0 to 65535")
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
        let Some((known, set)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
            let known = VARIABLES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::UnknownVariable { name: name.into_owned(), known });
        };
        // Every variable refuses an empty value.
        set(config, value.to_str().unwrap_or_default()).map_err(|expected| ConfigError::InvalidVariable {
            name: known,
            value: value.to_string_lossy().into_owned(),
            expected,
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
            ("REFLOW_TRACING_SQLITE_PATH", "other.db"),
            ("REFLOW_TRACING_POSTGRES_URL", "postgresql://other/db"),
            ("REFLOW_TRACING_POSTGRES_READ_REPLICA_URL", "postgresql://replica/db"),
            ("REFLOW_TRACING_CLICKHOUSE_URL", "http://other:8123"),
            ("REFLOW_TRACING_CLICKHOUSE_PASSWORD", "secret"),
        ])
        .unwrap();
        let mut expected = Config::default();
        (expected.server.host, expected.server.port) = ("0.0.0.0".into(), 9000);
        expected.storage.backend = Backend::from("memory");
        expected.storage.sqlite.database_path = "other.db".into();
        expected.storage.postgres.connection_url = "postgresql://other/db".into();
        expected.storage.postgres.read_replica_url = Some("postgresql://replica/db".into());
        expected.storage.clickhouse.url = "http://other:8123".into();
        expected.storage.clickhouse.password = Some("secret".into());
        assert_eq!(config, expected);
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
