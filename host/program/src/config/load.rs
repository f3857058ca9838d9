//! Reading the configuration file and the environment.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::environment;
use super::error::ConfigError;
use super::settings::Config;

/// The file that is read from the working folder when no other is named.
pub const FILE_NAME: &str = "reflow_tracing.toml";

impl Config {
    /// Reads the file at `path`, or [`FILE_NAME`] in the working folder if there is one, then the environment.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(path, std::env::vars_os())
    }

    /// Like [`load`](Self::load), with these environment variables.
    pub fn load_with(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut config = match path {
            Some(path) => Self::read(path)?,
            None => match Self::read(Path::new(FILE_NAME)) {
                Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    Self::default()
                }
                result => result?,
            },
        };
        environment::apply(&mut config, variables)?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| ConfigError::Invalid { path: path.to_owned(), error: Box::new(error) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;
    use crate::config::backend::{Backend, BuiltIn};
    use crate::config::server::{AllowedHost, AllowedOrigin, ServerConfig};

    fn load(text: &str) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load_with(Some(file.path()), [])
    }

    /// The message, which must contain each of `parts`.
    #[track_caller]
    fn assert_refused(text: &str, parts: &[&str]) {
        let message = load(text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = load("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.server.address(), "127.0.0.1:8080");
        assert_eq!(config.storage.backend, Backend::BuiltIn(BuiltIn::Sqlite));
        assert_eq!(config.plugins.dir, Path::new("plugins"));
    }

    #[test]
    fn an_ipv6_address_is_bracketed() {
        let server = ServerConfig { host: "::1".into(), port: 1, ..ServerConfig::default() };
        assert_eq!(server.address(), "[::1]:1");
    }

    #[test]
    fn the_server_names_the_origins_and_hosts_that_it_trusts() {
        let server = load(
            r#"
            [server]
            allowed_origins = ["https://dash.example"]
            allowed_hosts = ["traces.example", "traces.example:8080"]
            "#,
        )
        .unwrap()
        .server;
        assert_eq!(server.allowed_origins, [AllowedOrigin::parse("https://dash.example:443").unwrap()]);
        assert_eq!(server.allowed_hosts[1], AllowedHost::parse("traces.example:8080").unwrap());
        let message = ["line 2", "`x` is not a valid origin", "scheme://host[:port]"];
        assert_refused("[server]\nallowed_origins = [\"https://dash.example\", \"x\"]", &message);
        let message = ["line 2", "`http://a` is not a valid host", "name[:port]"];
        assert_refused("[server]\nallowed_hosts = [\"http://a\"]", &message);
    }

    #[test]
    fn a_plugin_is_described_by_its_table() {
        let config = load(
            r#"
            [storage]
            backend = "ledger"
            [storage.memory]
            max_traces = 7
            [plugins]
            dir = "elsewhere"
            [plugins.ledger]
            grants = { sql = { default = "sqlite:ledger.db" } }
            config = { ttl_seconds = 3600 }
            limits = { memory_mb = 64 }
            "#,
        )
        .unwrap();
        assert_eq!(config.storage.memory.max_traces, 7);
        assert_eq!(config.plugins.dir, Path::new("elsewhere"));
        let ledger = &config.plugins.named["ledger"];
        assert_eq!(ledger.grants.sql["default"], "sqlite:ledger.db");
        assert_eq!(ledger.config["ttl_seconds"], 3600);
        assert_eq!(ledger.limits.memory_mb, 64);
    }

    #[test]
    fn layers_and_retention_are_described_by_the_storage_table() {
        let config = load(
            r#"
            [storage]
            call_timeout = "1.5s"
            retries = 7
            health_interval = "5s"
            [storage.retention]
            max_age = "30d"
            max_traces = 1000
            max_size_mb = 2
            interval = "1h"
            "#,
        )
        .unwrap()
        .storage;
        assert_eq!((config.call_timeout, config.retries), (Duration::from_millis(1_500), Some(7)));
        assert_eq!(config.health_interval, Duration::from_secs(5));
        assert_eq!(config.retention.interval, Duration::from_secs(3_600));
        let policy = config.retention.policy();
        assert_eq!(policy.max_age, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!((policy.max_traces, policy.max_bytes), (Some(1_000), Some(2 * 1024 * 1024)));
        assert!(Config::default().storage.retention.policy().keeps_everything());
        assert_refused("[storage.retention]\nmax_age = \"30\"", &["line 2", "\"30\"", "250ms"]);
        assert_refused("[storage.retention]\nmax_agee = \"30d\"", &["line 2", "`max_agee`", "`max_age`"]);
    }

    #[test]
    fn a_spool_is_a_folder_or_a_table() {
        let spool = |text: &str| load(&format!("[storage]\n{text}")).unwrap().storage.spool.unwrap();
        assert_eq!(
            (spool("spool = \"away\"").dir.as_path(), spool("spool = \"away\"").max_size_mb),
            (Path::new("away"), 1024)
        );
        assert_eq!(spool("spool = { dir = \"away\", max_size_mb = 64 }").max_size_mb, 64);
        assert_refused("[storage]\nspool = { max_size_mb = 64 }", &["line 2", "`dir`"]);
        assert_refused("[storage]\nspool = { dir = \"away\", max = 64 }", &["line 2", "`max`", "`max_size_mb`"]);
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Config::load_with(Some(Path::new("no/such/file.toml")), []).unwrap_err();
        assert!(error.to_string().contains("no/such/file.toml"), "{error}");
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_the_valid_settings() {
        for (text, parts) in [
            // Unknown keys.
            ("[server]\nprot = 1", &["line 2", "prot = 1", "`host`", "`port`"][..]),
            ("[sever]\nport = 1", &["line 1", "sever", "`server`"]),
            ("[storage.memory]\nmax = 1", &["line 2", "`max`", "`max_traces`"]),
            ("[storage.sqlite]\npath = 1", &["line 2", "`path`", "`database_path`"]),
            ("[plugins.redis]\nfiel = \"x\"", &["line 2", "fiel = \"x\"", "`file`"]),
            ("[plugins.redis]\n\nlimits = { memory = 1 }", &["line 3", "`memory`", "`memory_mb`"]),
            // A misspelt setting of the table looks like a plugin.
            ("[plugins]\ndri = \"x\"", &["line 2", "dri = \"x\"", "`[plugins.NAME]`", "`dir`"]),
            // Wrong types.
            ("[server]\nport = \"x\"", &["line 2", "port = \"x\"", "u16"]),
            ("[server]\nport = 70000", &["line 2", "70000"]),
            // Names that a plugin can't have.
            ("[plugins.memory]\n", &["line 1", "memory", "built-in"]),
            ("[plugins.\"a/b\"]\n", &["line 1", "a/b", "path"]),
        ] {
            assert_refused(text, parts);
        }
    }
}
