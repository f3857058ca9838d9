//! Mistakes in the configuration: the error names the file, the key and the remedy.

use reflow_tracing_tests::{Backend, Host, Setting};

/// The error of `serve` with this configuration.
fn refusal(configuration: &str) -> String {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(configuration);
    // Another program may use the default port.
    let output = setting.command(&["serve"]).env("REFLOW_TRACING_PORT", "0").output().expect("the program starts");
    assert!(!output.status.success(), "it listens");
    String::from_utf8(output.stderr).expect("the program prints UTF-8")
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_the_known_ones() {
    assert_names(&refusal("[server]\nprot = 8080\n"), &["reflow_tracing.toml", "prot", "line 2", "port"]);
}

#[test]
fn an_unknown_key_of_a_plugin_is_named_with_the_known_ones() {
    assert_names(
        &refusal("[plugins.relational]\ngrant = {}\n"),
        &["reflow_tracing.toml", "line 2", "`grant`", "grants"],
    );
}

#[test]
fn a_wrong_type_is_named_with_the_right_one() {
    assert_names(&refusal("[server]\nport = \"http\"\n"), &["reflow_tracing.toml", "line 2", "port"]);
}

#[test]
fn no_mistake_shows_a_password() {
    for configuration in [
        "[storage.postgres]\nconnection_url = \"postgresql://u:hunter2@h/d\" x\n",
        "[storage]\npostgres = \"postgresql://u:hunter2@h/d\"\n",
    ] {
        let message = refusal(configuration);
        assert_names(&message, &["reflow_tracing.toml", "line 2"]);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let setting = Setting::new(Backend::Sqlite);
    for arguments in [
        ["query", "--store", "postgresq://u:hunter2@h/d"],
        ["query", "--store", "postgresql://u:12/hunter2@h/d"],
        ["query", "postgresql://u:hunter2@h/d", "--errors"],
    ] {
        let message = setting.failure(&arguments);
        assert!(message.starts_with("error: ") && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_number_out_of_its_range_is_named_with_the_range() {
    for (configuration, parts) in [
        (
            "[storage.postgres]\npartition_retention_days = 4000000000\n",
            ["`[storage.postgres]`", "`partition_retention_days`", "0 to 36500"],
        ),
        (
            "[storage.sqlite]\nbusy_timeout_ms = 4000000000\n",
            ["`[storage.sqlite]`", "`busy_timeout_ms`", "0 to 86400000"],
        ),
    ] {
        assert_names(&refusal(configuration), &parts);
    }
}

#[test]
fn a_missing_plugin_is_named_with_the_expected_file() {
    assert_names(
        &refusal("[storage]\nbackend = \"redsi\"\n"),
        &["redsi", "plugins/redsi.wasm", "sqlite", "relational"],
    );
}

#[test]
fn a_missing_configuration_file_is_named() {
    let setting = Setting::new(Backend::Sqlite);
    assert_names(&setting.failure(&["serve", "--config", "nowhere.toml"]), &["nowhere.toml"]);
}

#[test]
fn a_grant_that_is_not_a_database_is_named() {
    let message = refusal(
        "[storage]\nbackend = \"relational\"\n[plugins.relational]\ngrants = { sql = { default = \"oracle:x\" } }\n",
    );
    assert_names(&message, &["plugins.relational.grants.sql.default", "`oracle:", "sqlite:PATH"]);
}

#[test]
fn a_missing_grant_is_named() {
    let message = refusal("[storage]\nbackend = \"relational\"\n");
    assert_names(&message, &["relational", "default", "grants"]);
}

#[test]
fn a_file_that_has_another_digest_is_refused() {
    let message = refusal("[storage]\nbackend = \"relational\"\n[plugins.relational]\nsha256 = \"00ff\"\n");
    assert_names(&message, &["relational.wasm", "SHA-256", "00ff"]);
}

#[test]
fn a_file_that_is_not_a_component_is_refused() {
    let setting = Setting::new(Backend::Relational);
    std::fs::write(setting.path().join("plugins/relational.wasm"), "#!/bin/sh\n").expect("a file of ours");
    assert_names(&setting.failure(&["serve"]), &["relational.wasm", "not a WebAssembly component"]);
}

#[test]
fn a_database_of_another_program_is_refused_and_not_changed() {
    let setting = Setting::new(Backend::Sqlite);
    let file = setting.path().join("traces.db");
    std::fs::write(&file, "this is not a database, but it is long enough to be read as one".repeat(100))
        .expect("a file of ours");
    let before = std::fs::read(&file).expect("it is there");
    assert_names(&setting.failure(&["serve"]), &["traces.db", "not a SQLite database"]);
    assert_eq!(std::fs::read(&file).expect("it is there"), before);
}

#[test]
fn a_port_in_use_is_named() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let port = host.url.rsplit(':').next().expect("a port");
    let other = Setting::new(Backend::Sqlite);
    other.write(&format!("[server]\nport = {port}\n"));
    assert_names(&other.failure(&["serve"]), &[port]);
}
