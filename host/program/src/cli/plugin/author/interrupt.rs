//! Ending a command whose servers and temporary folders must not stay behind.

use std::future::Future;

/// Runs `work` to its end, or until the process is asked to end: then `work` is dropped first, with the servers that it started.
pub(super) async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let code = tokio::select! {
        done = work => return done,
        code = interrupted() => code,
    };
    // Does not wait for a compilation, which can't be stopped.
    std::process::exit(code)
}

/// Waits for a signal. Returns the exit code of a process that it ends.
#[cfg(unix)]
async fn interrupted() -> i32 {
    use tokio::signal::unix::{SignalKind, signal};

    let next = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
                128 + kind.as_raw_value()
            }
            // The signal ends the process at once, as it does by default.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        code = next(SignalKind::interrupt()) => code,
        code = next(SignalKind::terminate()) => code,
        code = next(SignalKind::hangup()) => code,
    }
}

#[cfg(not(unix))]
async fn interrupted() -> i32 {
    match tokio::signal::ctrl_c().await {
        Ok(()) => 130,
        // Only the system can end the process then.
        Err(_) => std::future::pending().await,
    }
}
