//! The network interface of the host.

mod access;
mod http;
mod listener;
mod maintenance;
mod operations;
pub mod reflow;
mod settings;
mod shutdown;
mod traffic;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::config::OpenStorage;
use crate::ingest::Ingest;
use listener::SendTimeoutListener;
use operations::Operations;
use reflow_tracing::maintenance::health::HealthMonitor;
use reflow_tracing::maintenance::retention::RetentionTask;
use reflow_tracing::storage::StorageError;
pub use settings::Settings;
use shutdown::Stopped;
use traffic::Traffic;

/// The time that connections have at a shutdown to store their events and to close. A slow store needs less; service managers
/// allow more (systemd: 90 s).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// The time after which a connection ends whose peer receives nothing. It allows for a pause of the peer, because its traces end
/// with the connection; the data that waits for the peer is bounded.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// The memory for connections to the port for metrics and probes, which must answer when everything else is busy.
const OPERATIONS_BUFFERED: usize = 16 * 1024 * 1024;

/// Why a server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store could not be closed; every acknowledged event is stored.
    #[error("can't close the store")]
    Close(#[source] StorageError),
}

/// Where a host listens.
pub struct Listeners {
    /// For Reflow's clients and everything else.
    pub main: TcpListener,
    /// Another one, for metrics and health only.
    pub operations: Option<TcpListener>,
}

/// Serves `listeners` from `storage` until `shutdown` completes. Then it accepts no more connections, stores what the open ones
/// sent, ends their traces, closes them, and closes `storage`.
pub async fn serve(
    listeners: Listeners,
    storage: OpenStorage,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let Settings { access, maintenance, max_buffered, max_connections, metrics, shutdown_delay } = settings;
    let (stop, stopped) = watch::channel(false);
    let (stops, stops_soon) = watch::channel(false);
    // Nothing is ever sent: the channel closes when the last connection drops its sender.
    let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
    let backend = Arc::clone(&storage.backend);
    let ingest = Ingest::new(Arc::clone(&backend));
    let retention =
        maintenance.retention.map(|(policy, interval)| RetentionTask::start(Arc::clone(&backend), policy, interval));
    let tasks = ingest.tasks().iter().cloned().chain(retention.as_ref().map(RetentionTask::health)).collect();
    let health = HealthMonitor::with_tasks(Arc::clone(&backend), tasks, maintenance.health);
    let budget = Budget::new(max_buffered);
    let traffic = Traffic::new(ingest.clocks().clone(), budget.clone());
    let operations = Operations::new(storage, health, traffic.clone(), metrics, stops_soon);
    let access = Arc::new(access);
    let guarded = |router: Router| router.layer(middleware::from_fn_with_state(Arc::clone(&access), access::enforce));
    let reflow =
        reflow::router(ingest.clone(), traffic, max_connections, Stopped::new(stopped.clone()), alive.downgrade());
    let app = guarded(operations.main().merge(reflow));

    let (_until_the_end, never) = watch::channel(false);
    // Until the end, so that it can be seen how the host stops.
    let mut until_the_end = JoinSet::new();
    if let Some(listener) = listeners.operations {
        let app = guarded(operations.alone());
        let listener = SendTimeoutListener::new(listener, SEND_TIMEOUT);
        let never = Stopped::new(never.clone());
        until_the_end.spawn(http::serve(listener, app, Budget::new(OPERATIONS_BUFFERED), never));
    }
    let listener = SendTimeoutListener::new(listeners.main, SEND_TIMEOUT);
    let serving = http::serve(listener, app, budget.clone(), Stopped::new(stopped.clone()));
    let stopping = async move {
        shutdown.await;
        stops.send_replace(true);
        tokio::time::sleep(shutdown_delay).await;
        stop.send_replace(true);
        budget.close();
        std::future::pending().await
    };
    let grace_ends = async {
        Stopped::new(stopped).wait().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    let all_served = async {
        serving.await;
        // No WebSocket is opened any more, and those that are open hold their own.
        drop(alive);
        while all_ended.recv().await.is_some() {}
    };
    tokio::select! {
        () = all_served => {}
        () = stopping => {}
        () = grace_ends => tracing::warn!("abandoning the connections that did not end within {SHUTDOWN_GRACE:?}"),
    }
    drop(retention);
    ingest.end_interrupted().await;
    drop(ingest);
    backend.close().await.map_err(ServeError::Close)
}
