//! Migrations that are killed and resumed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reflow_tracing::storage::{PostgresConfig, PostgresStorage, SqliteStorage, StorageBackend};
use reflow_tracing_tests::servers::Postgres;
use reflow_tracing_tests::{Backend, Setting};

use super::{everything, figure, sqlite_with, traces};

/// Runs the command to its end, but kills it at any moment the first few times. What it printed in the end.
fn killed_again_and_again(setting: &Setting, command: &[&str], kills: u32) -> String {
    let resuming = [command, &["--resume", "--verify", "--batch", "50", "--parallel", "2"]].concat();
    let (mut killed, mut longest) = (0, Duration::from_millis(300));
    while killed < kills {
        let mut child =
            setting.command(&resuming).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        let until = Instant::now() + Duration::from_micros(fastrand::u64(..longest.as_micros() as u64));
        while Instant::now() < until && child.try_wait().expect("it is ours").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let has_ended = child.try_wait().expect("it is ours").is_some();
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        killed += 1;
        // Earlier if it ended before the kill, later if it made no progress.
        longest = if has_ended { longest / 2 } else { longest * 2 };
    }
    setting.stdout(&resuming)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_at_any_moment_and_resumed_leaves_the_same_as_one_that_was_not() {
    let setting = Setting::new(Backend::Sqlite);
    let source = setting.path().join("source.db");
    sqlite_with(&source, traces(6_000)).await;
    let expected = everything(&SqliteStorage::new(&source).await.expect("it opens")).await;

    let to_sqlite = ["migrate", "--from", "sqlite:source.db", "--to", "sqlite:target.db"];
    let summary = killed_again_and_again(&setting, &to_sqlite, 6);
    assert_eq!(figure(&summary, "traces"), "6000");
    assert_eq!(figure(&summary, "source"), figure(&summary, "target"));
    let target = SqliteStorage::new(setting.path().join("target.db")).await.expect("it opens");
    assert!(everything(&target).await == expected);

    let server = Postgres::start();
    let url = server.url("postgres");
    let summary = killed_again_and_again(&setting, &["migrate", "--from", "sqlite:source.db", "--to", &url], 6);
    assert_eq!(figure(&summary, "traces"), "6000");
    assert_eq!(figure(&summary, "source"), figure(&summary, "target"));
    let config = PostgresConfig { connection_url: url, ..PostgresConfig::default() };
    let target = PostgresStorage::with_config(config).await.expect("it opens");
    assert!(everything(&target).await == expected);
    target.close().await.expect("closed");
    let left = std::fs::read_dir(setting.path()).expect("our folder").flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("journal")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_at_any_moment_and_resumed_is_complete() {
    let setting = Setting::new(Backend::Sqlite);
    let source = setting.path().join("source.db");
    sqlite_with(&source, traces(3_000)).await;
    let expected = everything(&SqliteStorage::new(&source).await.expect("it opens")).await;
    setting.stdout(&["export", "--store", "sqlite:source.db", "traces.jsonl.zst"]);
    let summary = killed_again_and_again(&setting, &["import", "traces.jsonl.zst", "--store", "sqlite:target.db"], 5);
    assert_eq!(figure(&summary, "traces"), "3000");
    assert_eq!(figure(&summary, "source"), figure(&summary, "target"));
    let target = SqliteStorage::new(setting.path().join("target.db")).await.expect("it opens");
    assert!(everything(&target).await == expected);
}
