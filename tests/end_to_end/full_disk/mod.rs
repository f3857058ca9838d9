//! Full disks under a running host: `/health` reports them, and reports when there is space again. A disk is a small file system in
//! memory; mounting it needs privileges.

mod sqlite;

use std::fs;
use std::path::Path;
use std::process::Command;

use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::{Value, json};

use crate::wire::{Connection, is_stored};

/// A disk of a few megabytes, mounted until it is dropped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(folder: &'a Path) -> Self {
        fs::create_dir(folder).expect("a new folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(folder).output();
        let mounted = mounted.expect("mount is there");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "this test needs the right to mount a file system (run it as root): {said}");
        Self(folder)
    }

    /// Fills it to the last byte with a file that [`free`](Self::free) removes.
    fn fill(&self) {
        let filler = vec![0; 16 << 20];
        let error = fs::write(self.0.join("filler"), filler).expect_err("it is smaller");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("it is full of it");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn health(host: &Host) -> (u16, Value) {
    let (status, body) = host.get("/health");
    (status, serde_json::from_str(&body).expect("JSON"))
}

/// Fills the disk under a host that stores there, and frees it again.
async fn is_reported_and_recovers(backend: Backend, config: impl Fn(&str) -> String) {
    let setting = Setting::new(backend);
    let folder = setting.path().join("disk");
    let disk = Disk::mount(&folder);
    setting.write(&config(folder.to_str().expect("a path of ours")));
    let host = Host::start(&setting);
    let mut connection = Connection::open(&host.url).await;
    let trace = connection.start_trace("disk").await;
    assert!(is_stored(&connection.record(&trace, "before", json!(null)).await));
    assert_eq!(health(&host).0, 200);

    disk.fill();
    let (status, body) = health(&host);
    assert_eq!(status, 503, "before anything was refused: {body}");
    assert!(body["checks"]["store"].as_str().is_some_and(|problem| problem.contains("full")), "{body}");
    assert_eq!((host.get("/ready").0, host.get("/live").0), (503, 200), "a restart would not help");
    let large = "x".repeat(1 << 20);
    assert!(!is_stored(&connection.record(&trace, "large", json!(large)).await), "there is no space for it");
    let (status, body) = health(&host);
    assert_eq!(status, 503, "{body}");
    let error = body["error"].as_str().expect("a reason");
    assert!(error.contains("full") && error.contains("disk"), "{error}");

    disk.free();
    if backend != Backend::Sqlite {
        // A plugin's health counts its last write for a minute.
        assert!(is_stored(&connection.record(&trace, "freed", json!(null)).await));
    }
    let (status, body) = health(&host);
    assert_eq!(status, 200, "{body}");
    assert_eq!(host.get("/ready").0, 200);
    assert!(is_stored(&connection.record(&trace, "after", json!(null)).await));
}

#[tokio::test]
async fn health_reports_a_full_disk_of_the_sqlite_file() {
    is_reported_and_recovers(Backend::Sqlite, |disk| {
        format!("[server]\nport = 0\n[storage.sqlite]\ndatabase_path = \"{disk}/traces.db\"\n")
    })
    .await;
}

#[tokio::test]
async fn health_reports_a_full_disk_of_a_granted_file() {
    is_reported_and_recovers(Backend::Relational, |disk| {
        format!(
            "[server]\nport = 0\n[storage]\nbackend = \"relational\"\n[plugins.relational]\n\
             grants = {{ sql = {{ default = \"sqlite:{disk}/relational.db\" }} }}\n"
        )
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_of_the_spool_is_a_warning_while_the_backend_takes_everything() {
    let setting = Setting::new(Backend::Relational);
    let folder = setting.path().join("disk");
    let disk = Disk::mount(&folder);
    setting.write(
        "[server]\nport = 0\n[storage]\nbackend = \"relational\"\nspool = \"disk/spool\"\n[plugins.relational]\n\
         grants = { sql = { default = \"sqlite:relational.db\" } }\n",
    );
    let host = Host::start(&setting);
    assert_eq!(health(&host).1["warnings"], json!([]));

    disk.fill();
    let (status, body) = health(&host);
    assert_eq!(status, 200, "{body}");
    assert!(body["warnings"][0].as_str().is_some_and(|warning| warning.contains("spool")), "{body}");
    disk.free();
    assert_eq!(health(&host).1["warnings"], json!([]));
}
