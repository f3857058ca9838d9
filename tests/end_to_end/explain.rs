//! `reflow-tracing plugin explain`.

use reflow_tracing_tests::{Backend, Setting, test_plugin};
use serde_json::Value;

#[test]
fn a_plugin_is_explained_with_the_grants_and_limits_of_a_configuration() {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(
        "[plugins.relational]\ngrants = { sql = { default = \"sqlite:relational.db\" } }\nlimits = { memory_mb = 77 }\n",
    );
    let explain = ["plugin", "explain", "plugins/relational.wasm"];
    let text = setting.stdout(&[&explain[..], &["--config", "reflow_tracing.toml"]].concat());
    for part in [
        "for contract",
        "sql: statements in the granted databases, with the rights of their users; granted: default",
        "because it imports reflow:capabilities/sql@",
        "[method]connection.execute",
        "reflow:storage/expiry: no; retention by age deletes trace by trace",
        "memory_mb        77 (the default is 128)",
        "call_timeout_ms  5000\n",
        "s on this machine",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    // Without a configuration: what to grant, and nothing about what is granted.
    let text = setting.stdout(&[&explain[..], &["--no-compile"]].concat());
    assert!(text.contains("sql = { default = \"sqlite:relational.db\" }") && text.contains("not compiled"), "{text}");
    assert!(!text.contains("granted: default"), "{text}");
    let other = setting.stdout(&[
        "plugin",
        "explain",
        "plugins/hostile.wasm",
        "--config",
        "reflow_tracing.toml",
        "--no-compile",
    ]);
    assert!(other.contains("not granted: a call fails"), "{other}");
}

#[test]
fn the_same_is_json_for_programs() {
    let setting = Setting::new(Backend::Sqlite);
    let file = test_plugin("probe");
    let file = file.to_str().expect("a path of ours");
    let json = setting.stdout(&["plugin", "explain", file, "--format", "json"]);
    let explained: Value = serde_json::from_str(&json).expect("JSON");
    let grants = explained["grants"].as_array().expect("a list");
    let http = grants.iter().find(|grant| grant["capability"] == "http").expect("the probe sends requests");
    assert!(http["granted"].is_null() && http["calls"].as_object().is_some_and(|calls| !calls.is_empty()), "{http}");
    assert_eq!(explained["limits"]["memory_mb"], 128);
    assert_eq!(explained["optional_exports"]["reflow:storage/maintenance"], true, "the probe exports it");
    let code = &explained["code"];
    assert!(code["functions"].as_u64() > Some(100) && code["function_bytes"].as_u64() > Some(10_000), "{code}");
    assert!(explained["compile_seconds"].as_f64() > Some(0.0), "{json}");
}

#[test]
fn a_file_that_is_not_a_plugin_is_an_error_that_names_it() {
    let setting = Setting::new(Backend::Sqlite);
    let config = setting.failure(&["plugin", "explain", "reflow_tracing.toml"]);
    assert!(config.contains("reflow_tracing.toml"), "{config}");
    let missing = setting.failure(&["plugin", "explain", "nowhere.wasm"]);
    assert!(missing.contains("nowhere.wasm") && missing.contains("can't read the file"), "{missing}");
}
