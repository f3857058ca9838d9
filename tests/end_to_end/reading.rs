//! Stores that are read where nothing can be written, and files that are not stores.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;

use reflow_tracing_tests::{Backend, Host, Setting, fixture};

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

/// A folder with a store that holds a recorded session.
fn stored() -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    setting.stdout(&["replay", fixture("reflow-session.jsonl").to_str().expect("Unicode"), "--url", &host.url]);
    host.stop();
    setting
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Runs the program as a user who can't write anything of ours. Root could write everything.
fn run_as_nobody(setting: &Setting, arguments: &[&str]) -> Output {
    let mut command = setting.command(arguments);
    if fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("the program starts")
}

/// What the program prints without the right to write. Panics when it fails.
fn read(setting: &Setting, arguments: &[&str]) -> String {
    let output = run_as_nobody(setting, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of ours");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_store_is_read_where_nothing_can_be_written() {
    let setting = stored();
    let expected = setting.traces();
    let trace_id = expected[0].trace_id.0.to_string();
    let file = setting.path().join("traces.db");
    mode(&file, 0o444);
    mode(setting.path(), 0o555);
    let before = (names(setting.path()), fs::read(&file).expect("the store"));
    assert!(read(&setting, &["query"]).contains(&trace_id));
    assert!(read(&setting, &["query", "--store", "sqlite:traces.db", "--errors"]).contains("0 traces"));
    assert!(read(&setting, &["get", &trace_id]).contains("data_generator"));
    let exported = read(&setting, &["export", "-"]);
    assert_eq!(exported.lines().filter(|line| line.starts_with("{\"event\"")).count(), 16);
    assert!(read(&setting, &["migrate", "--to", "memory:", "--dry-run"]).contains("events      16"));
    assert!(before == (names(setting.path()), fs::read(&file).expect("the store")), "something was written");
    mode(setting.path(), 0o755);
}

#[test]
fn a_store_is_read_while_its_host_writes_or_after_the_host_was_killed() {
    let setting = stored();
    mode(setting.path(), 0o755);
    let host = Host::start(&setting);
    setting.stdout(&["replay", fixture("reflow-session.jsonl").to_str().expect("Unicode"), "--url", &host.url]);
    assert!(read(&setting, &["query"]).contains("2 traces"));
    host.kill();
    assert!(read(&setting, &["query"]).contains("2 traces"));
    // Without the index of the log, reading the log takes write access.
    let copy = setting.path().join("copy");
    fs::create_dir(&copy).expect("a new folder");
    for name in ["traces.db", "traces.db-wal"] {
        fs::copy(setting.path().join(name), copy.join(name)).expect("a killed host leaves it");
    }
    mode(&copy, 0o555);
    let output = run_as_nobody(&setting, &["query", "--store", "sqlite:copy/traces.db"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("-wal") && message.contains("write access"), "{message}");
    mode(&copy, 0o755);
    assert!(setting.stdout(&["query", "--store", "sqlite:copy/traces.db"]).contains("2 traces"));
}

#[test]
fn a_missing_store_is_an_error_that_says_how_to_make_one() {
    let setting = Setting::new(Backend::Sqlite);
    let before = names(setting.path());
    let id = "00000000-0000-0000-0000-000000000001";
    for arguments in [
        &["query"][..],
        &["get", id],
        &["export", "out.jsonl"],
        &["migrate", "--from", "sqlite:traces.db", "--to", "sqlite:other.db"],
        &["retain", "--max-traces", "1"],
        &["query", "--store", "sqlite:traces.db"],
    ] {
        let message = setting.failure(arguments);
        assert!(message.contains("traces.db does not exist") && message.contains("reflow-tracing serve"), "{message}");
    }
    assert_eq!(names(setting.path()), before);
}

#[test]
fn a_file_of_another_program_is_named_and_left_as_it_is() {
    let setting = Setting::new(Backend::Relational);
    let host = Host::start(&setting);
    setting.stdout(&["replay", fixture("reflow-session.jsonl").to_str().expect("Unicode"), "--url", &host.url]);
    host.stop();
    fs::write(setting.path().join("notes.txt"), "Notes, and not a database.\n").expect("a file of ours");
    for (file, parts) in [
        (
            "relational.db",
            &["--store plugin:relational", "grants = { sql = { default = \"sqlite:relational.db\" } }"][..],
        ),
        ("notes.txt", &["notes.txt is not a SQLite database"]),
    ] {
        let before = fs::read(setting.path().join(file)).expect("the file");
        let store = format!("sqlite:{file}");
        let serve = setting
            .command(&["serve"])
            .env("REFLOW_TRACING_STORAGE_BACKEND", "sqlite")
            .env("REFLOW_TRACING_SQLITE_PATH", file)
            .output();
        let served = String::from_utf8(serve.expect("the program starts").stderr).expect("UTF-8");
        for message in [setting.failure(&["query", "--store", &store]), served] {
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
        }
        assert!(fs::read(setting.path().join(file)).expect("the file") == before, "{file} was changed");
    }
    // What the error says works.
    assert!(setting.stdout(&["query", "--store", "plugin:relational"]).contains("1 trace"));
}

#[test]
fn a_host_does_not_start_on_a_store_that_it_may_only_read() {
    let setting = stored();
    setting.write("[server]\nport = 0\n[storage.sqlite]\nread_only = true\n");
    assert!(setting.stdout(&["query"]).contains("1 trace"));
    let message = setting.failure(&["serve"]);
    assert!(message.contains("`read_only` in `[storage.sqlite]`"), "{message}");
}

#[test]
fn a_recording_with_a_number_that_would_be_changed_is_not_sent() {
    let setting = Setting::new(Backend::Sqlite);
    let recorded = fs::read_to_string(fixture("reflow-session.jsonl")).expect("the fixture");
    let changed = recorded.replacen("\"cpu_usage_percent\": 0.0", "\"cpu_usage_percent\": 1e-400", 1);
    assert_ne!(changed, recorded, "the fixture has metrics");
    fs::write(setting.path().join("changed.jsonl"), changed).expect("a file of ours");
    let message = setting.failure(&["replay", "changed.jsonl", "--url", "ws://127.0.0.1:9"]);
    for part in ["line ", "RecordEvent.event.data.performance_metrics.cpu_usage_percent` is 1e-400", "nothing was sent"]
    {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}
