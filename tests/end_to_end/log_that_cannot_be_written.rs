//! A host whose log can't be written: only the log lines are lost.

use std::fs::File;
use std::process::Stdio;

use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::json;

use crate::wire::{Connection, is_stored};

/// Makes the task that stores events log a warning, then checks that events are still stored.
async fn stores_on(stderr: Stdio) {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start_with_stderr(&setting, stderr);
    let mut connection = Connection::open(&host.url).await;
    let trace = connection.start_trace("log").await;
    for _ in 0..3 {
        let refused = connection.record(&trace, &"x".repeat(2 * reflow_tracing::MAX_NAME_BYTES), json!(null)).await;
        assert!(!is_stored(&refused), "such a name is refused, and that is logged: {refused}");
        let stored = connection.record(&trace, "actor", json!(null)).await;
        assert!(is_stored(&stored), "{stored}");
    }
    let (status, body) = host.get("/health");
    assert_eq!(status, 200, "{body}");
    drop(host);
    assert_eq!(setting.traces()[0].events.len(), 3);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_log_disk_does_not_stop_the_host() {
    stores_on(File::options().write(true).open("/dev/full").expect("Linux has it").into()).await;
}

#[tokio::test]
async fn a_closed_log_pipe_does_not_stop_the_host() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    stores_on(writer.into()).await;
}
