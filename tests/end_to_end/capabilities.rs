//! The small capabilities from the plugin's side: settings, secrets, metrics, the log, and WASI.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use reflow_tracing::plugin::{Grants, Limits, Metric, PluginConfig};
use reflow_tracing::storage::StorageError;
use reflow_tracing_tests::{Backend, Host, Setting, test_plugin};

use crate::probe::Probe;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reads_its_settings() {
    let text = r#"{"days":30,"name":"a \"b\"","list":[1,2.5],"nothing":null}"#;
    let config = PluginConfig { config: serde_json::from_str(text).expect("JSON"), ..PluginConfig::default() };
    let probe = Probe::load(config).await;
    let expected = r#"days=30 list=[1,2.5] name="a \"b\"" nothing=null missing=None"#;
    assert_eq!(probe.ask("config", &[]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reads_the_secrets_that_were_granted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    fs::write(&file, "first\n").expect("a file of ours");
    let secrets = [
        ("token".to_owned(), format!("file:{}", file.display())),
        ("path".to_owned(), "env:PATH".to_owned()),
        ("unset".to_owned(), "env:REFLOW_TRACING_TEST_OF_A_VARIABLE_THAT_IS_UNSET".to_owned()),
    ];
    let grants = Grants { secrets: secrets.into(), ..Grants::default() };
    let probe = Probe::load(PluginConfig { grants, ..PluginConfig::default() }).await;
    assert_eq!(probe.ask("secret", &[("label", "token")]).await, "first");
    fs::write(&file, "second").expect("a file of ours");
    assert_eq!(probe.ask("secret", &[("label", "token")]).await, "second");
    assert_eq!(probe.ask("secret", &[("label", "path")]).await, std::env::var("PATH").expect("it is set"));

    let unset = probe.try_ask("secret", &[("label", "unset")]).await.to_string();
    assert!(unset.contains("`unset`") && !unset.contains("REFLOW_TRACING_TEST"), "{unset}");
    let forbidden = probe.try_ask("secret", &[("label", "other")]).await;
    assert!(matches!(&forbidden, StorageError::InvalidArgument(message) if message.contains("`other`")), "{forbidden}");
}

#[test]
fn grants_are_shown_without_their_passwords() {
    let url = "redis://user:hunter2@host/".to_owned();
    let grants = Grants {
        sql: [("db".into(), "postgres://user:hunter2@host/db".into())].into(),
        redis: [("queue".into(), reflow_tracing::plugin::RedisGrant { url: url.clone(), ..Default::default() })].into(),
        keyvalue: [("cache".into(), url)].into(),
        secrets: [("token".into(), "hunter2".into())].into(),
        http: vec!["https://api.example.com".into()],
    };
    let shown = format!("{:?}", PluginConfig { grants, ..PluginConfig::default() });
    assert!(!shown.contains("hunter2"), "{shown}");
    for label in ["db", "queue", "cache", "token", "https://api.example.com"] {
        assert!(shown.contains(label), "{label}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_belong_to_the_plugin_and_not_to_an_instance() {
    let config = PluginConfig { limits: Limits { instances: 2, ..Limits::default() }, ..PluginConfig::default() };
    let probe = Probe::load(config).await;
    // Some in parallel, so on several instances.
    futures::future::join_all((0..8).map(|_| probe.ask("metrics", &[]))).await;
    let figures = probe.backend.metrics();
    let names: Vec<_> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["depth", "questions", "seconds"]);
    assert_eq!(figures[0].1, Metric::Gauge(2.5));
    assert_eq!(figures[1].1, Metric::Counter(8));
    let Metric::Histogram(seconds) = &figures[2].1 else { panic!("{figures:?}") };
    assert_eq!((seconds.count, seconds.sum), (8, 2.0));
    assert!(seconds.buckets().any(|bucket| bucket == (0.25, 8)) && seconds.buckets().any(|bucket| bucket == (0.1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_has_the_time_and_random_numbers_and_nothing_else_of_the_machine() {
    let probe = Probe::load(PluginConfig::default()).await;
    let found = probe.ask("wasi", &[]).await;
    let found: std::collections::BTreeMap<_, _> = found.lines().filter_map(|line| line.split_once('=')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let time: u64 = found["time"].parse().expect("seconds");
    assert!(time.abs_diff(now) < 3_600, "{time}");
    let expected = [
        ("waited", "true"),
        ("random", "true"),
        ("variables", "0"),
        ("arguments", "0"),
        ("folder", "None"),
        ("folders", "0"),
        ("tcp", "access-denied"),
        ("udp", "access-denied"),
        ("names", "permanent-resolver-failure"),
    ];
    for (name, value) in expected {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn a_log_message_of_a_plugin_is_one_line_with_its_name() {
    let setting = Setting::new(Backend::Sqlite);
    fs::copy(test_plugin("probe"), setting.path().join("plugins/probe.wasm")).expect("a copy of the plugin");
    setting.write("[server]\nport = 0\n[storage]\nbackend = \"probe\"\n");
    let _host = Host::start(&setting);
    // The host's own commands open the plugin themselves.
    let message = format!("message=one\ntwo\u{1b}[31m {}", "x".repeat(10_000));
    let output = setting.run(&["query", "--flow", "log", "--tag", &message]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = log.lines().find(|line| line.contains("one\\ntwo")).unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("probe") && line.contains("\\u{1b}[31m") && line.contains("(cut: 10013 bytes in all)"),
        "{line}"
    );
    assert!(line.len() < 9_000, "{}", line.len());
}
