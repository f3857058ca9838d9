//! The SQLite backend in its own process, which is killed while it writes.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use reflow_tracing::storage::{JournalMode, SqliteConfig, SqliteStorage, StorageBackend};
use reflow_tracing::{EventId, TraceId};
use reflow_tracing_tests::{event_of_id, soak};

const ROUNDS: usize = 6;

type Acknowledged = Vec<(TraceId, EventId)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing_acknowledged_in_mode_wal() {
    is_killed_again_and_again(JournalMode::WAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing_acknowledged_in_mode_delete() {
    is_killed_again_and_again(JournalMode::Delete).await;
}

async fn is_killed_again_and_again(journal_mode: JournalMode) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("traces.db");
    let mut acknowledged = Acknowledged::new();
    for round in 1..=ROUNDS * soak() as usize {
        let earlier = acknowledged.len();
        acknowledged.extend(killed_while_writing(&file, journal_mode));
        assert!(acknowledged.len() > earlier, "round {round} stored nothing");
        // Every other round recovers without an earlier read.
        if round % 2 == 0 {
            assert_kept(&file, journal_mode, &acknowledged).await;
        }
    }
    println!("{journal_mode:?}: {} events were acknowledged, and kept", acknowledged.len());
}

/// The ids that the program reported as stored, until it was killed at a random moment.
fn killed_while_writing(file: &Path, journal_mode: JournalMode) -> Acknowledged {
    let mut writer = Command::new(env!("CARGO_BIN_EXE_sqlite_writer"))
        .arg(file)
        .arg(format!("{journal_mode:?}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = writer.stdout.take().expect("it is piped");
    let (started, first_line) = mpsc::channel();
    let reader = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map(|line| {
            let _ = started.send(());
            let line = line.expect("the program prints UTF-8");
            let (trace, event) = line.split_once(' ').expect("two ids");
            (trace.parse().expect("a trace id"), event.parse().expect("an event id"))
        });
        lines.collect()
    });
    first_line.recv_timeout(Duration::from_secs(60)).expect("the program stores something in time");
    thread::sleep(Duration::from_micros(fastrand::u64(..100_000)));
    writer.kill().expect("it is ours");
    writer.wait().expect("it is ours");
    reader.join().expect("it read what the program printed")
}

async fn assert_kept(file: &Path, journal_mode: JournalMode, acknowledged: &[(TraceId, EventId)]) {
    let database_path = file.to_str().expect("a path of ours").into();
    let config = SqliteConfig { database_path, journal_mode, ..SqliteConfig::default() };
    let storage = SqliteStorage::with_config(config).await.expect("a sound file");
    let mut by_trace: HashMap<TraceId, HashSet<EventId>> = HashMap::new();
    for (trace_id, event_id) in acknowledged {
        assert!(by_trace.entry(*trace_id).or_default().insert(*event_id));
    }
    for (trace_id, mut missing) in by_trace {
        let trace = storage.get_trace(trace_id).await.expect("a sound store").expect("its header was acknowledged");
        let mut seen = HashSet::new();
        for event in trace.events {
            assert!(seen.insert(event.event_id), "{} is there twice", event.event_id);
            missing.remove(&event.event_id);
            assert_eq!(event, event_of_id(event.event_id.0), "damaged");
        }
        assert!(missing.is_empty(), "{} acknowledged events of {trace_id} are lost: {missing:?}", missing.len());
    }
}
