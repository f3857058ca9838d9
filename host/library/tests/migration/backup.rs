use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use reflow_tracing::TraceEvent;
use reflow_tracing::migration::{Backup, CopyOptions, ExportFile, MigrationError};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};

use super::{Failing, everything, filled, memory};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let source = filled(500).await;
    let expected = everything(&source).await;
    let sqlite = SqliteStorage::new(folder.path().join("target.db")).await.unwrap();
    let stores: [&dyn StorageBackend; 2] = [&memory(), &sqlite];
    for (store, name) in stores.into_iter().zip(["a.json", "b.jsonl.zst"]) {
        let path = folder.path().join(name);
        let exported = source.export_to_file(&path).await.unwrap();
        assert_eq!((exported.copied.traces, exported.copied.headerless), (500, 3));
        for _ in 0..2 {
            let imported = store.import_from_file(&path).await.unwrap();
            assert_eq!(imported.copied, exported.copied);
            assert!(everything(store).await == expected);
        }
        let file = ExportFile::open(&path).await.unwrap();
        let options = CopyOptions { verify: true, ..CopyOptions::default() };
        let verified = file.import_into(store, &options).await.unwrap();
        assert!(verified.is_complete());
        assert_eq!(verified.verification.unwrap().target, exported.copied);
    }
    let size = |name| fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("b.jsonl.zst") * 3 < size("a.json"));
    let first = fs::read_to_string(folder.path().join("a.json")).unwrap();
    assert!(first.starts_with("{\"export\":{\"version\":2,"), "{}", &first[..100]);
    assert_eq!(names(folder.path()), ["a.json", "b.jsonl.zst", "target.db", "target.db-shm", "target.db-wal"]);
}

#[tokio::test]
async fn a_comparison_with_a_file_reports_the_differences() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let store = filled(20).await;
    store.export_to_file(&path).await.unwrap();
    let changed = everything(&store).await.0[3].trace_id;
    store.store_event(changed, TraceEvent::default()).await.unwrap();
    let file = ExportFile::open(&path).await.unwrap();
    let options = CopyOptions { verify: true, ..CopyOptions::default() };
    let report = file.import_into(&store, &options).await.unwrap();
    assert_eq!(report.verification.unwrap().first_differing, [changed]);
}

#[tokio::test]
async fn a_failed_export_leaves_the_existing_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    filled(5).await.export_to_file(&path).await.unwrap();
    let before = fs::read(&path).unwrap();
    let source = Failing::new(filled(500).await);
    source.parts_left.store(300, Ordering::SeqCst);
    let error = source.export_to_file(&path).await.unwrap_err();
    assert!(matches!(error, MigrationError::Source(_)), "{error}");
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(names(folder.path()), ["a.json"]);
    let error = source.export_to_file(folder.path().join("no/such/folder.json")).await.unwrap_err().to_string();
    assert!(error.contains("folder.json"), "{error}");
}

/// What is said of a file with this content, of which nothing must be stored.
async fn refusal(folder: &Path, content: impl AsRef<[u8]>) -> (u64, String) {
    let path = folder.join("damaged");
    fs::write(&path, content).unwrap();
    let store = memory();
    let error = store.import_from_file(&path).await.unwrap_err();
    assert_eq!(store.stats().await.unwrap().events, 0);
    assert_eq!(store.stats().await.unwrap().traces, 0);
    assert!(error.to_string().contains("damaged, line "), "{error}");
    match error {
        MigrationError::Damaged { line, problem, .. } => (line, problem),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_line_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = folder.join("sound.json");
    filled(100).await.export_to_file(&path).await.unwrap();
    let sound = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = sound.lines().collect();
    let last = lines.len() as u64;
    let with = |index: usize, line: &str| {
        let mut changed = lines.clone();
        changed[index] = line;
        changed.join("\n") + "\n"
    };

    // Changed.
    let (line, problem) =
        refusal(folder, with(49, &lines[49].replacen("actor", "Actor", 1).replacen("flow", "Flow", 1))).await;
    assert!(line == 50 && problem.contains("checksum"), "{line}: {problem}");
    assert_eq!(refusal(folder, with(49, "{}")).await.0, 50);
    assert_eq!(refusal(folder, with(49, "")).await.0, 50);
    assert_eq!(refusal(folder, with(49, "\u{0}\u{1}")).await.0, 50);
    let mut flipped = sound.clone().into_bytes();
    let at = sound.lines().take(70).map(|line| line.len() + 1).sum::<usize>() + 20;
    flipped[at] ^= 1;
    assert_eq!(refusal(folder, flipped).await.0, 71);
    // A line is missing, doubled, elsewhere.
    let without = [&lines[..30], &lines[31..]].concat().join("\n") + "\n";
    assert_eq!(refusal(folder, without).await.0, 31);
    let doubled = [&lines[..31], &lines[30..]].concat().join("\n") + "\n";
    assert_eq!(refusal(folder, doubled).await.0, 32);
    let mut swapped = lines.clone();
    swapped.swap(30, 31);
    assert_eq!(refusal(folder, swapped.join("\n") + "\n").await.0, 31);
    // Cut off: within a line, after one, before its break.
    assert_eq!(refusal(folder, &sound[..at]).await, (71, "it is cut off: the file is not complete".into()));
    let (line, problem) = refusal(folder, lines[..70].join("\n") + "\n").await;
    assert!(line == 71 && problem.contains("missing"), "{line}: {problem}");
    assert_eq!(refusal(folder, lines.join("\n")).await.0, last);
    assert_eq!(refusal(folder, "").await, (1, "the file is empty".into()));
    // It goes on.
    assert_eq!(refusal(folder, format!("{sound}{}\n", lines[0])).await.0, last + 1);
    assert_eq!(refusal(folder, format!("{sound}{sound}")).await.0, last + 1);
    // Something else.
    let (line, problem) = refusal(folder, "[{\"trace_id\": 1}]\n").await;
    assert!(line == 1 && problem.contains("reflow-tracing export"), "{line}: {problem}");
    assert_eq!(refusal(folder, vec![7; 10_000_000]).await.0, 1);
    // Of the future, whatever its lines look like.
    let newer = lines[0].replace("\"version\":2", "\"version\":3");
    for newer in [with(0, &newer), "{\"export\":{\"version\":7},\"more\":1}\nwho knows".into()] {
        let (line, problem) = refusal(folder, newer).await;
        assert!(line == 1 && problem.contains("newer"), "{line}: {problem}");
    }
}

#[tokio::test]
async fn a_damaged_compressed_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.zst");
    let source = filled(300).await;
    source.export_to_file(&path).await.unwrap();
    let sound = fs::read(&path).unwrap();
    let (_, problem) = refusal(folder.path(), &sound[..sound.len() / 2]).await;
    assert!(problem.contains("cut off"), "{problem}");
    refusal(folder.path(), &sound[..sound.len() - 1]).await;
    let flipped = |at: usize| {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x10;
        flipped
    };
    // In zstd's own checksum.
    refusal(folder.path(), flipped(sound.len() - 2)).await;
    // A flipped bit may refer to an equal text elsewhere: then nothing is damaged, and the import must be exact.
    for at in (0..sound.len()).step_by(sound.len() / 20) {
        fs::write(&path, flipped(at)).unwrap();
        let store = memory();
        match store.import_from_file(&path).await {
            Ok(_) => assert!(everything(&store).await == everything(&source).await, "byte {at}"),
            Err(MigrationError::Damaged { .. }) => {
                assert_eq!(store.stats().await.unwrap(), memory().stats().await.unwrap())
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    refusal(folder.path(), [&sound[..], &sound[..]].concat()).await;
    refusal(folder.path(), [&sound[..], b"more"].concat()).await;
}

#[tokio::test]
async fn an_interrupted_import_is_completed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let source = filled(8_000).await;
    source.export_to_file(&path).await.unwrap();
    let target = Failing::new(memory());
    target.writes_left.store(3, Ordering::SeqCst);
    let error = target.import_from_file(&path).await.unwrap_err();
    assert!(matches!(error, MigrationError::Target(_)), "{error}");
    assert!(target.storage.stats().await.unwrap().traces > 0);
    target.writes_left.store(usize::MAX, Ordering::SeqCst);
    target.import_from_file(&path).await.unwrap();
    assert!(everything(&target.storage).await == everything(&source).await);
}

#[tokio::test]
async fn received_input_is_checked_before_anything_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zst");
    let source = filled(50).await;
    source.export_to_file(&path).await.unwrap();
    let received = ExportFile::receive(fs::File::open(&path).unwrap(), "stdin").await.unwrap();
    assert_eq!(received.digest().traces, 50);
    let target = memory();
    received.import_into(&target, &CopyOptions::default()).await.unwrap();
    assert!(everything(&target).await == everything(&source).await);
    let half = fs::read(&path).unwrap();
    let half = std::io::Cursor::new(half[..half.len() / 2].to_vec());
    let error = ExportFile::receive(half, "stdin").await.unwrap_err().to_string();
    assert!(error.starts_with("stdin, line "), "{error}");
}
