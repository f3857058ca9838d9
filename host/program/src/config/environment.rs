//! Environment variables, with Reflow's names.

use std::ffi::OsString;

use super::error::ConfigError;
use super::reflow_names::warning_for_backend;
use super::settings::Config;
use super::source::{CONFIG, CONFIG_FILE};
use crate::registry;

const PREFIX: &str = "REFLOW_TRACING_";

/// The variables of Reflow's client, which may run in the same environment.
const OF_THE_CLIENT: &[&str] = &[
    "REFLOW_TRACING_ENABLED",
    "REFLOW_TRACING_SERVER_URL",
    "REFLOW_TRACING_BATCH_SIZE",
    "REFLOW_TRACING_BATCH_TIMEOUT",
    "REFLOW_TRACING_BATCH_TIMEOUT_MS",
    "REFLOW_TRACING_COMPRESSION",
    "REFLOW_TRACING_ENABLE_COMPRESSION",
    "REFLOW_TRACING_MAX_RETRIES",
    "REFLOW_TRACING_INITIAL_DELAY_MS",
    "REFLOW_TRACING_MAX_DELAY_MS",
    "REFLOW_TRACING_BACKOFF_MULTIPLIER",
];

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

/// Whether Kubernetes sets a variable in every pod, for a Service whose name begins with `reflow-tracing`: `.._SERVICE_HOST`,
/// `.._SERVICE_PORT[_NAME]`, `.._PORT` with a URL, `.._PORT_8080_TCP[_PROTO|_PORT|_ADDR]`.
fn is_service_link(name: &str, value: &str) -> bool {
    let name = &name[PREFIX.len() - 1..];
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
        let protocol = parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"));
        number
            && protocol
            && parts.next().is_none_or(|last| matches!(last, "PROTO" | "PORT" | "ADDR"))
            && parts.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split("_PORT_").skip(1).any(is_port)
        || (name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|url| value.starts_with(url)))
}

/// Overrides the settings that the variables name. Ignores the variables of other programs. Returns warnings.
pub(super) fn apply(
    config: &mut Config,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || name == CONFIG || name == CONFIG_FILE {
            continue;
        }
        if OF_THE_CLIENT.contains(&&*name)
            || registry::VARIABLES.contains(&&*name)
            || is_service_link(&name, &value.to_string_lossy())
        {
            tracing::debug!(
                "ignoring the environment variable {name}: it is the client's, a registry's, or a service link of Kubernetes"
            );
            continue;
        }
        let Some((known, set)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
            let known = VARIABLES.iter().map(|(name, _)| *name).chain([CONFIG, CONFIG_FILE]).collect();
            return Err(ConfigError::UnknownVariable { name: name.into_owned(), known });
        };
        if *known == "REFLOW_TRACING_STORAGE_BACKEND" {
            warnings.extend(warning_for_backend(&value.to_string_lossy()));
        }
        // Every variable refuses an empty value. Only such a value, and a port, can be invalid; others may have a password.
        let value = value.to_str().ok_or(ConfigError::VariableNotUtf8 { name: known })?;
        set(config, value).map_err(|expected| ConfigError::InvalidVariable {
            name: known,
            value: value.to_owned(),
            expected,
        })?;
    }
    Ok(warnings)
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
        assert!(message.contains("REFLOW_TRACING_PROT") && message.contains("REFLOW_TRACING_HOST"), "{message}");
        assert!(message.contains("did you mean `REFLOW_TRACING_PORT`?"), "{message}");
    }

    #[test]
    fn what_kubernetes_and_the_client_set_is_ignored() {
        let config = apply_to_default(&[
            ("REFLOW_TRACING_SERVICE_HOST", "10.0.0.1"),
            ("REFLOW_TRACING_SERVICE_PORT", "8080"),
            ("REFLOW_TRACING_SERVICE_PORT_WEBSOCKET", "8080"),
            ("REFLOW_TRACING_PORT", "tcp://10.0.0.1:8080"),
            ("REFLOW_TRACING_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("REFLOW_TRACING_PORT_8080_TCP_PROTO", "tcp"),
            ("REFLOW_TRACING_PORT_8080_TCP_PORT", "8080"),
            ("REFLOW_TRACING_PORT_8080_TCP_ADDR", "10.0.0.1"),
            // A Service with a longer name.
            ("REFLOW_TRACING_METRICS_PORT", "tcp://10.0.0.2:9090"),
            ("REFLOW_TRACING_METRICS_PORT_9090_TCP_ADDR", "10.0.0.2"),
            ("REFLOW_TRACING_METRICS_SERVICE_HOST", "10.0.0.2"),
            ("REFLOW_TRACING_ENABLED", "true"),
            ("REFLOW_TRACING_SERVER_URL", "ws://127.0.0.1:8080"),
            ("REFLOW_TRACING_BATCH_SIZE", "50"),
        ]);
        assert_eq!(config.unwrap(), Config::default());
        for name in ["REFLOW_TRACING_PORT_8080", "REFLOW_TRACING_PORT_X_TCP", "REFLOW_TRACING_METRICS_PORT"] {
            let error = apply_to_default(&[(name, "1")]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
