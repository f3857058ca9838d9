//! The network interface of the host.

mod access;
mod listener;
mod maintenance;
mod operations;
pub mod reflow;
mod shutdown;
mod traffic;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::config::OpenStorage;
use crate::ingest::Ingest;
pub use access::Access;
use listener::SendTimeoutListener;
pub use maintenance::Maintenance;
use reflow_tracing::maintenance::health::HealthMonitor;
use reflow_tracing::maintenance::retention::RetentionTask;
use reflow_tracing::storage::StorageError;
use shutdown::Stopped;
use traffic::Traffic;

/// The time that connections have at a shutdown to store their events and to close. A slow store needs less; service managers
/// allow more (systemd: 90 s).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// The time after which a connection ends whose peer receives nothing. It allows for a pause of the peer, because its traces end
/// with the connection; the data that waits for the peer is bounded.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener failed.
    #[error("can't accept connections")]
    Accept(#[source] io::Error),
    /// The store could not be closed; every acknowledged event is stored.
    #[error("can't close the store")]
    Close(#[source] StorageError),
}

/// Serves `listener` from `storage` until `shutdown` completes. `access` decides which requests are allowed. Then it accepts no
/// more connections, stores what the open ones sent, ends their traces, closes them, and closes `storage`.
pub async fn serve(
    listener: TcpListener,
    storage: OpenStorage,
    access: Access,
    maintenance: Maintenance,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stop, stopped) = watch::channel(false);
    // Nothing is ever sent: the channel closes when the last connection drops its sender.
    let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
    let backend = Arc::clone(&storage.backend);
    let ingest = Ingest::new(Arc::clone(&backend));
    let retention =
        maintenance.retention.map(|(policy, interval)| RetentionTask::start(Arc::clone(&backend), policy, interval));
    let tasks = ingest.tasks().iter().cloned().chain(retention.as_ref().map(RetentionTask::health)).collect();
    let health = HealthMonitor::with_tasks(Arc::clone(&backend), tasks, maintenance.health);
    let traffic = Traffic::default();
    let app = operations::router(storage, health, traffic.clone())
        .merge(reflow::router(ingest.clone(), traffic, Stopped::new(stopped.clone()), alive))
        .layer(middleware::from_fn_with_state(Arc::new(access), access::enforce));

    // Answers are small and the peer waits for each, so they must not wait to fill a packet.
    let listener = SendTimeoutListener::new(listener, SEND_TIMEOUT).tap_io(|stream| {
        if let Err(error) = stream.get_ref().set_nodelay(true) {
            tracing::debug!("can't set TCP_NODELAY: {error}");
        }
    });
    let serving = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.send_replace(true);
        })
        .into_future();
    let grace_ends = async {
        Stopped::new(stopped).wait().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    let all_served = async {
        let result = serving.await;
        while all_ended.recv().await.is_some() {}
        result
    };
    tokio::select! {
        result = all_served => result.map_err(ServeError::Accept)?,
        () = grace_ends => tracing::warn!("abandoning the connections that did not end within {SHUTDOWN_GRACE:?}"),
    }
    drop(retention);
    ingest.end_interrupted().await;
    drop(ingest);
    backend.close().await.map_err(ServeError::Close)
}
