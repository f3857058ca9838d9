//! Exports and imports from a shell.

use std::fs;
use std::process::{Output, Stdio};

use reflow_tracing::storage::SqliteStorage;
use reflow_tracing_tests::{Backend, Setting};

use super::{everything, figure, sqlite_with, traces};

/// What a command does with this on its stdin.
fn with_stdin(setting: &Setting, arguments: &[&str], input: &[u8]) -> Output {
    fs::write(setting.path().join("stdin"), input).expect("a file of ours");
    let input = fs::File::open(setting.path().join("stdin")).expect("it was just written");
    let mut command = setting.command(arguments);
    command.stdin(Stdio::from(input)).output().expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_go_through_files_and_pipes() {
    let setting = Setting::new(Backend::Sqlite);
    let path = |name: &str| setting.path().join(name);
    sqlite_with(&path("source.db"), traces(200)).await;
    let expected = everything(&SqliteStorage::new(path("source.db")).await.expect("it opens")).await;

    let exported = setting.stdout(&["export", "plain.jsonl", "--store", "sqlite:source.db"]);
    let compressed = setting.stdout(&["export", "packed.zst", "--store", "sqlite:source.db"]);
    assert_eq!(figure(&exported, "checksum"), figure(&compressed, "checksum"));
    let piped = setting.run(&["export", "-", "--store", "sqlite:source.db"]);
    assert!(piped.status.success());
    assert_eq!(piped.stdout.iter().filter(|byte| **byte == b'\n').count(), lines(&path("plain.jsonl")));

    for (number, file) in ["plain.jsonl", "packed.zst"].into_iter().enumerate() {
        let store = format!("sqlite:{number}.db");
        let imported = setting.stdout(&["import", file, "--store", &store, "--verify"]);
        assert_eq!(figure(&imported, "target"), figure(&exported, "checksum"));
        let target = SqliteStorage::new(path(&format!("{number}.db"))).await.expect("it opens");
        assert!(everything(&target).await == expected, "{file}");
    }
    for (number, input) in [piped.stdout, fs::read(path("packed.zst")).expect("it is there")].iter().enumerate() {
        let store = format!("sqlite:piped-{number}.db");
        let imported = with_stdin(&setting, &["import", "-", "--store", &store], input);
        assert!(imported.status.success(), "{imported:?}");
        let target = SqliteStorage::new(path(&format!("piped-{number}.db"))).await.expect("it opens");
        assert!(everything(&target).await == expected);
    }
}

fn lines(file: &std::path::Path) -> usize {
    fs::read_to_string(file).expect("UTF-8").lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_with_its_line_before_a_store_is_opened() {
    let setting = Setting::new(Backend::Sqlite);
    sqlite_with(&setting.path().join("source.db"), traces(50)).await;
    setting.stdout(&["export", "sound.jsonl", "--store", "sqlite:source.db"]);
    let sound = fs::read(setting.path().join("sound.jsonl")).expect("it is there");
    let cut_off = &sound[..sound.len() / 2];
    let line = cut_off.iter().filter(|byte| **byte == b'\n').count() + 1;

    let output = with_stdin(&setting, &["import", "-", "--store", "sqlite:target.db"], cut_off);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(&format!("stdin, line {line}: ")), "{said}");
    fs::write(setting.path().join("damaged.jsonl"), cut_off).expect("a file of ours");
    let said = setting.failure(&["import", "damaged.jsonl", "--store", "sqlite:target.db"]);
    assert!(said.contains(&format!("damaged.jsonl, line {line}: ")) && said.contains("nothing was imported"), "{said}");
    assert!(!setting.path().join("target.db").exists());
    assert!(setting.failure(&["import", "no-such.jsonl"]).contains("no-such.jsonl"));
}
