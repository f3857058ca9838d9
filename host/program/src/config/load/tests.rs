use std::io::Write;
use std::time::Duration;

use super::*;
use crate::config::backend::{Backend, BuiltIn};
use crate::config::server::{AllowedHost, AllowedOrigin, ServerConfig};
use reflow_tracing::storage::{JournalMode, SynchronousMode, TempStore};

fn load(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Ok(Config::load_with(Some(file.path()), [])?.config)
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
        ("[server]\nprot = 1", &["line 2", "prot = 1", "`host`", "did you mean `port`?"][..]),
        ("[sever]\nport = 1", &["line 1", "sever", "`server`"]),
        ("[storage.memory]\nmax = 1", &["line 2", "`max`", "`max_traces`"]),
        ("[storage.sqlite]\npath = 1", &["line 2", "`path`", "`database_path`"]),
        ("[plugins.redis]\nfiel = \"x\"", &["line 2", "fiel = ..", "`file`"]),
        ("[plugins.redis]\n\nlimits = { memory = 1 }", &["line 3", "`memory`", "`memory_mb`"]),
        // A misspelt setting of the table looks like a plugin.
        ("[plugins]\ndri = \"x\"", &["line 2", "dri = ..", "`[plugins.NAME]`", "`dir`"]),
        // Values that are names.
        (
            "[storage.sqlite]\nsynchronous = \"NROMAL\"",
            &["line 2", "synchronous = ..", "`nromal`", "did you mean `normal`?"],
        ),
        // Settings of Reflow's.
        ("[compression]\nlevle = 3", &["line 2", "levle", "did you mean `level`?"]),
        ("[storage.sqlite]\nwal_mode = 3", &["line 2", "wal_mode = 3", "boolean"]),
        ("[server]\nmax_connections = 0", &["line 2", "max_connections = 0", "nonzero"]),
        ("[metrics]\nendpoint = \"metrics\"", &["line 2", "`metrics` is not a valid path", "/metrics"]),
        ("[metrics]\nendpoint = \"/health\"", &["line 2", "`/health`"]),
        // Wrong types.
        ("[server]\nport = \"x\"", &["line 2", "port = ..", "u16"]),
        ("[server]\nport = 70000", &["line 2", "70000"]),
        // Names that a plugin can't have.
        ("[plugins.memory]\n", &["line 1", "memory", "built-in"]),
        ("[plugins.\"a/b\"]\n", &["line 1", "a/b", "path"]),
    ] {
        assert_refused(text, parts);
    }
}

/// The configuration in Reflow's documentation, with the values of its own defaults.
const OF_REFLOW: &str = r#"
    [server]
    host = "0.0.0.0"
    port = 8080
    max_connections = 1000
    websocket_buffer_size = 1048576

    [storage]
    backend = "PostgreSQL"

    [storage.memory]
    max_traces = 10000
    eviction_policy = "lru"

    [storage.sqlite]
    database_path = "other.db"
    wal_mode = false
    synchronous = "NORMAL"
    cache_size = -2000
    temp_store = "MEMORY"

    [storage.postgres]
    connection_url = "postgresql://localhost/reflow"
    max_connections = 10
    min_connections = 2
    acquire_timeout_secs = 30

    [compression]
    enabled = true
    algorithm = "zstd"
    level = 3

    [metrics]
    enabled = true
    port = 9090
    endpoint = "/metrics"

    [otlp]
    enabled = true
    endpoint = "http://localhost:4318"
    service_name = "reflow"
"#;

#[test]
fn the_settings_of_reflows_server_are_read_or_warned_of() {
    let loaded = Config::parse(OF_REFLOW, Source::Defaults).unwrap();
    let Config { server, storage, metrics, .. } = &loaded.config;
    assert_eq!((server.address().as_str(), server.max_connections.unwrap().get()), ("0.0.0.0:8080", 1000));
    assert_eq!(storage.backend, Backend::BuiltIn(BuiltIn::Postgres));
    assert_eq!(metrics.port, Some(9090));
    let sqlite = &storage.sqlite;
    assert_eq!((sqlite.journal_mode, sqlite.synchronous), (JournalMode::Delete, SynchronousMode::Normal));
    assert_eq!((sqlite.cache_size_mb, sqlite.temp_store), (2, TempStore::Memory));
    let postgres = &storage.postgres;
    assert_eq!((postgres.max_connections, postgres.connection_timeout_ms), (10, 30_000));
    let warnings = loaded.warnings.join("\n");
    for name in ["`websocket_buffer_size`", "`[compression]`", "`[otlp]`"] {
        assert!(warnings.contains(name), "{name} is missing in: {warnings}");
    }
    assert_eq!(loaded.warnings.len(), 3, "{warnings}");
}

#[test]
fn a_setting_of_ours_wins_over_the_one_of_reflow() {
    let text = "[storage.sqlite]\nwal_mode = true\njournal_mode = \"TRUNCATE\"\ncache_size = 100\ncache_size_mb = 7\n\
                [storage.postgres]\nacquire_timeout_secs = 30\nconnection_timeout_ms = 1\n";
    let storage = load(text).unwrap().storage;
    assert_eq!((storage.sqlite.journal_mode, storage.sqlite.cache_size_mb), (JournalMode::Truncate, 7));
    assert_eq!(storage.postgres.connection_timeout_ms, 1);
}

#[test]
fn a_variable_holds_or_names_the_configuration() {
    let load = |variables: &[(&str, &str)], path: Option<&Path>| {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        Config::load_with(path, variables)
    };
    let json = r#"{"server": {"port": 1, "host": "0.0.0.0"}, "storage": {"backend": "memory", "postgres": null}, "otlp": null}"#;
    let loaded = load(&[(CONFIG, json), ("REFLOW_TRACING_PORT", "2")], None).unwrap();
    assert_eq!((loaded.config.server.address().as_str(), &loaded.source), ("0.0.0.0:2", &Source::Variable));
    assert_eq!(loaded.config.storage.backend, Backend::BuiltIn(BuiltIn::Memory));

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[server]\nport = 3\n").unwrap();
    let named = [(CONFIG_FILE, file.path().to_str().unwrap())];
    assert_eq!(load(&named, None).unwrap().config.server.port, 3);
    // What the command line says wins.
    assert_eq!(load(&[(CONFIG, json)], Some(file.path())).unwrap().config.server.port, 3);

    for (json, part) in [("{", "not valid JSON"), (r#"{"server": {"prot": 1}}"#, "did you mean `port`?")] {
        let error = load(&[(CONFIG, json)], None).unwrap_err().to_string();
        assert!(error.contains(CONFIG) && error.contains(part), "{error}");
    }
    let error = load(&[(CONFIG_FILE, "no/such/file.toml")], None).unwrap_err().to_string();
    assert!(error.contains("no/such/file.toml"), "{error}");
}

#[test]
fn the_first_file_that_exists_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.toml", "b.toml"].map(|name| folder.path().join(name));
    let names = [files[0].to_str().unwrap(), files[1].to_str().unwrap()];
    assert_eq!(Config::read_first(&names).unwrap().source, Source::Defaults);
    std::fs::write(&files[1], "[server]\nport = 2\n").unwrap();
    let loaded = Config::read_first(&names).unwrap();
    assert_eq!((loaded.config.server.port, loaded.source), (2, Source::File(files[1].clone())));
    std::fs::write(&files[0], "[server]\nport = 1\n").unwrap();
    assert_eq!(Config::read_first(&names).unwrap().config.server.port, 1);
}

#[test]
fn what_json_does_not_have_is_a_text_for_a_plugin_or_refused() {
    let text = "[plugins.p]\nconfig = { since = 2026-01-01T00:00:00Z, day = 2026-01-02, list = [1, 2.5, 07:30:00], sub = { on = true } }\n";
    let expected = serde_json::json!({
        "since": "2026-01-01T00:00:00Z", "day": "2026-01-02", "list": [1, 2.5, "07:30:00"], "sub": {"on": true},
    });
    assert_eq!(serde_json::Value::from(load(text).unwrap().plugins.named["p"].config.clone()), expected);
    for number in ["inf", "-inf", "nan"] {
        let name = number.trim_start_matches('-').to_lowercase();
        assert_refused(&format!("[plugins.p]\nconfig = {{ ttl = {number} }}"), &["line 2", "JSON"]);
        assert_refused(
            &format!("[plugins.p.config]\nttl = [{number}]"),
            &["line 2", if name == "nan" { "NaN" } else { "inf" }],
        );
    }
}
