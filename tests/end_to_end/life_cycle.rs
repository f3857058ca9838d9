//! The life cycle of a plugin: cached code, reloads, retries, pauses, and reports about them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceQuery};
use reflow_tracing_tests::{Backend, Host, Setting, plugin, test_plugin};

fn asking(flow: &str) -> TraceQuery {
    TraceQuery { flow_id: Some(FlowId::new(flow)), ..TraceQuery::default() }
}

fn trace(flow: &str) -> FlowTrace {
    FlowTrace::new(FlowId::new(flow), FlowVersion::default())
}

async fn hostile(limits: Limits) -> PluginBackend {
    let config = PluginConfig { limits, ..PluginConfig::default() };
    PluginBackend::load("hostile", &test_plugin("hostile"), &config).await.expect("it loads")
}

/// Waits until the condition holds, however long that takes.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !so().await {
        assert!(Instant::now() < patience, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_breaks_its_instance_is_tried_again_on_a_fresh_one() {
    let plugin = hostile(Limits { instances: 1, ..Limits::default() }).await;
    for _ in 0..3 {
        plugin.query_traces(asking("trap-when-warm")).await.expect("the second try works");
    }
    let report = plugin.report();
    assert_eq!((report.retries, report.restarts, report.errors.trapped), (2, 2, 2), "{report:?}");
    assert_eq!(report.health, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_keeps_failing_is_paused_and_retried() {
    let plugin = hostile(Limits::default()).await;
    for _ in 0..5 {
        let error = plugin.query_traces(asking("trap")).await.expect_err("it traps");
        assert!(matches!(error, StorageError::Plugin { .. }), "{error}");
    }
    let made = plugin.report().instances_made;
    let error = plugin.health_check().await.expect_err("it is left alone");
    for part in ["`hostile`", "failed 5 times in a row", "the next call is possible in", "stopped itself"] {
        assert!(error.to_string().contains(part), "no `{part}` in: {error}");
    }
    assert!(error.is_retryable());
    let report = plugin.report();
    assert_eq!(report.instances_made, made, "it costs nothing meanwhile");
    assert_eq!(report.errors.paused, 1);
    assert!(report.health.contains("5 times in a row") && !report.called, "{report:?}");

    until("the next try", async || plugin.health_check().await.is_ok()).await;
    assert_eq!(plugin.report().health, "ok");
    plugin.query_traces(asking("nothing")).await.expect("it is called as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_has_grown_is_replaced() {
    let limits = Limits { instances: 1, memory_mb: 64, recycle_mb: 16, ..Limits::default() };
    let plugin = hostile(limits).await;
    for _ in 0..20 {
        // 160 MiB in total, more than one instance can have.
        plugin.query_traces(asking("hoard")).await.expect("there is room");
    }
    let report = plugin.report();
    assert!(report.instances_recycled >= 6, "{report:?}");
    assert_eq!(report.restarts, 0, "it never failed");
    assert!(report.memory_bytes < 32 << 20, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_and_the_instances_of_a_plugin_are_counted_until_they_are_gone() {
    let plugin = hostile(Limits { instances: 3, ..Limits::default() }).await;
    let calls = (0..3).map(|_| plugin.health_check());
    for answer in futures::future::join_all(calls).await {
        answer.expect("it answers");
    }
    let report = plugin.report();
    assert_eq!(report.instances_busy, 0);
    assert!((1..=3).contains(&report.instances_idle), "{report:?}");
    assert!(report.memory_bytes > 0);
    assert!(report.functions["health-check"].calls >= 4, "{report:?}");
    plugin.close().await.expect("it closes");
    let report = plugin.report();
    assert_eq!((report.instances_idle, report.memory_bytes), (0, 0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_cached_and_a_damaged_cache_is_rebuilt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let config = PluginRuntimeConfig { cache_dir: Some(cache.clone()), ..PluginRuntimeConfig::default() };
    let start = async || {
        let runtime = PluginRuntime::new(&config).expect("it makes sense");
        let plugin = runtime.load("hostile", &test_plugin("hostile"), &PluginConfig::default()).await;
        plugin.expect("it loads").report().compiled_code_from_cache
    };
    assert!(!start().await, "nothing was there");
    assert!(start().await);
    for entry in fs::read_dir(&cache).expect("it was made") {
        let entry = entry.expect("an entry").path();
        let half = fs::read(&entry).expect("it is ours").len() / 2;
        fs::File::options().write(true).open(&entry).and_then(|file| file.set_len(half as u64)).expect("it is ours");
    }
    assert!(!start().await, "half an entry is none");
    assert!(start().await, "it was mended");
}

/// The relational plugin on a file in `folder`, followed.
async fn followed(folder: &Path) -> PluginBackend {
    let file = folder.join("relational.wasm");
    fs::copy(plugin("relational"), &file).expect("a copy");
    let database = format!("sqlite:{}", folder.join("traces.db").display());
    let config = PluginConfig {
        grants: Grants { sql: [("default".into(), database)].into(), ..Grants::default() },
        limits: Limits { call_timeout_ms: 60_000, ..Limits::default() },
        ..PluginConfig::default()
    };
    let backend = PluginBackend::load("relational", &file, &config).await.expect("it loads");
    backend.reload_on_change(&file);
    backend
}

/// The same component with other bytes: an ignored section holds `note`.
fn another_version(note: &str) -> Vec<u8> {
    let mut bytes = fs::read(plugin("relational")).expect("it was built");
    let (name, note) = (b"note", note.as_bytes());
    let length = u8::try_from(1 + name.len() + note.len()).expect("it is short");
    assert!(length < 128, "one byte of LEB128");
    bytes.extend([0, length, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(note);
    bytes
}

/// Replaces a file atomically, as careful installers do.
fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).and_then(|()| fs::rename(&new, file)).expect("a file of our own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_over_under_load_without_a_failed_call() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("relational.wasm");
    let backend = followed(folder.path()).await;
    let first = backend.report().sha256;
    let work = async || {
        let mut stored = 0;
        while backend.report().reloads < 2 {
            for _ in 0..5 {
                let trace = trace("reloaded");
                let id = trace.trace_id;
                backend.store_trace(trace).await.expect("no write fails");
                assert!(backend.get_trace(id).await.expect("no read fails").is_some());
                stored += 1;
            }
        }
        stored
    };
    let exchange = async || {
        replace(&file, &another_version("second"));
        until("the second version", async || backend.report().reloads == 1).await;
        // Written in place, in two parts: the partial file must not be loaded.
        let third = another_version("third");
        let (begin, end) = third.split_at(third.len() / 2);
        fs::write(&file, begin).expect("a file of our own");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut open = fs::File::options().append(true).open(&file).expect("a file of our own");
        std::io::Write::write_all(&mut open, end).expect("a file of our own");
        until("the third version", async || backend.report().reloads == 2).await;
    };
    let (one, two, ()) = tokio::join!(work(), work(), exchange());
    let report = backend.report();
    assert_ne!(report.sha256, first);
    assert_eq!(report.health, "ok");
    let count = backend.count_traces(TraceQuery::default()).await.expect("it counts");
    assert_eq!(count, one + two);
    assert_eq!(report.errors, Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_same_length_and_time_takes_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("relational.wasm");
    let write = |note: &str, to: &Path| {
        fs::write(to, another_version(note)).expect("a file of our own");
        let open = fs::File::options().append(true).open(to).expect("a file of our own");
        // As reproducible builds give every file.
        open.set_modified(SystemTime::UNIX_EPOCH).expect("a file of our own");
    };
    let backend = followed(folder.path()).await;
    write("one", &file);
    until("the first version", async || backend.report().reloads == 1).await;
    let new = folder.path().join("new");
    write("two", &new);
    fs::rename(&new, &file).expect("a file of our own");
    until("the one that replaced it", async || backend.report().reloads == 2).await;
    write("six", &file);
    until("the one written over it", async || backend.report().reloads == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_new_file_leaves_the_running_version() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("relational.wasm");
    let backend = followed(folder.path()).await;
    let first = backend.report().sha256;
    let hostile = fs::read(test_plugin("hostile")).expect("it was built");
    let tries: [(&[u8], &str); 2] =
        [(b"no component", "not a WebAssembly component"), (&hostile[..hostile.len() / 2], "")];
    for (number, (content, reason)) in (1..).zip(tries) {
        replace(&file, content);
        until("the refusal", async || backend.report().failed_reloads >= number).await;
        let report = backend.report();
        assert!(report.health.contains("the running version stays") && report.health.contains(reason), "{report:?}");
        assert_eq!((report.sha256.as_str(), report.reloads, report.called), (first.as_str(), 0, true));
        backend.store_trace(trace("old")).await.expect("the old version works");
    }
    // The file is removed.
    fs::remove_file(&file).expect("a file of our own");
    backend.store_trace(trace("old")).await.expect("the old version works");
    replace(&file, &another_version("mended"));
    until("the mended version", async || backend.report().reloads == 1).await;
    assert_eq!(backend.report().health, "ok");
}

#[test]
fn a_host_reports_the_activity_of_its_plugin() {
    let setting = Setting::new(Backend::Hostile);
    let host = Host::start(&setting);
    let (status, body) = host.get("/health");
    assert_eq!((status, body.contains("\"ok\"")), (200, true), "{body}");

    let (status, body) = host.get("/api/v1/plugins");
    let plugins: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(plugins[0]["name"], "hostile");
    assert!(plugins[0]["functions"]["health-check"]["calls"].as_u64() >= Some(2), "{body}");

    let (status, body) = host.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        r#"reflow_tracing_plugin_errors_total{plugin="hostile",kind="trapped"} 0"#,
        r#"reflow_tracing_plugin_instances{plugin="hostile",state="busy"} 0"#,
        r#"reflow_tracing_plugin_called{plugin="hostile"} 1"#,
        r#"reflow_tracing_plugin_instance_start_seconds_count{plugin="hostile",step="make"} 1"#,
        r#"reflow_tracing_plugin_instance_start_seconds_count{plugin="hostile",step="open"} 1"#,
        "# EOF",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} is missing in:\n{body}");
    }
    host.stop();
}

#[test]
fn the_list_shows_the_activity_of_the_active_plugin() {
    let setting = Setting::new(Backend::Hostile);
    let host = Host::start(&setting);
    // The address of the host, for `plugin list`.
    let port = host.url.rsplit(':').next().expect("a port");
    setting.write(&format!("[server]\nport = {port}\n[storage]\nbackend = \"hostile\"\n[plugins.hostile]\n"));
    let list = setting.stdout(&["plugin", "list"]);
    let figures = list.split_once("active in the host").expect("it answers").1;
    let row = figures.lines().find(|line| line.starts_with("hostile")).expect("it is active");
    let columns: Vec<_> = row.split_whitespace().collect();
    let calls: u64 = columns[1].parse().expect("a number");
    assert!(calls >= 1, "{row}");
    assert_eq!(columns[2..7], ["0", "0", "0", "0", "1"], "errors, traps, restarts, busy, idle: {row}");
    assert!(["compiled", "cached"].iter().any(|code| row.contains(code)) && row.ends_with("ok"), "{row}");
    host.stop();
}
