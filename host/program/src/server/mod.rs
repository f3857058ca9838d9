//! The host's network side.

mod access;
mod listener;
mod operations;
pub mod reflow;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::config::{OpenStorage, StorageConfig};
use crate::ingest::Ingest;
pub use access::Access;
use listener::ImpatientListener;
use reflow_tracing::maintenance::health::{HealthConfig, HealthMonitor};
use reflow_tracing::maintenance::retention::{RetentionPolicy, RetentionTask};
use reflow_tracing::storage::StorageError;

/// How long a shutdown waits for connections to store what they sent and to say goodbye. Longer than a slow store needs,
/// shorter than the patience of service managers (systemd: 90 s).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// How long a peer may take nothing of what is sent to it before its connection ends. Its traces end with it, so it has time for
/// a pause; what waits for it is bounded meanwhile.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a server did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener failed.
    #[error("can't accept connections")]
    Accept(#[source] io::Error),
    /// The store could not be closed; what was acknowledged is stored.
    #[error("can't close the store")]
    Close(#[source] StorageError),
}

/// What is done for the store beside its calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upkeep {
    /// How its health is looked at.
    pub health: HealthConfig,
    /// What it keeps, and how often that is seen to.
    pub retention: Option<(RetentionPolicy, Duration)>,
}

impl Upkeep {
    /// What the configuration says of it.
    pub fn of(config: &StorageConfig) -> Self {
        let policy = config.retention.policy();
        Self {
            health: HealthConfig { interval: config.health_interval, ..HealthConfig::default() },
            retention: (!policy.keeps_everything()).then_some((policy, config.retention.interval)),
        }
    }
}

/// Serves `listener` from `storage` until `shutdown` ends, to those whom `access` admits. Then it accepts no more
/// connections, ends those that there are, stores what they sent, ends their traces, and closes `storage`.
pub async fn serve(
    listener: TcpListener,
    storage: OpenStorage,
    access: Access,
    upkeep: Upkeep,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stop, stopped) = watch::channel(false);
    // Nothing is sent: the receiver learns when the last connection has dropped its sender.
    let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
    let backend = Arc::clone(&storage.backend);
    let ingest = Ingest::new(Arc::clone(&backend));
    let retention =
        upkeep.retention.map(|(policy, interval)| RetentionTask::start(Arc::clone(&backend), policy, interval));
    let tasks = ingest.tasks().iter().cloned().chain(retention.as_ref().map(RetentionTask::health)).collect();
    let health = HealthMonitor::with_tasks(Arc::clone(&backend), tasks, upkeep.health);
    let app = operations::router(storage, health)
        .merge(reflow::router(ingest, Stopped(stopped.clone()), alive))
        .layer(middleware::from_fn_with_state(Arc::new(access), access::enforce));

    // Answers are small and somebody waits for each, so they must not wait for more to fill a packet.
    let listener = ImpatientListener::new(listener, SEND_TIMEOUT).tap_io(|stream| {
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
        Stopped(stopped).wait().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    let all_served = async {
        let result = serving.await;
        while all_ended.recv().await.is_some() {}
        result
    };
    tokio::select! {
        result = all_served => result.map_err(ServeError::Accept)?,
        () = grace_ends => tracing::warn!("some connections did not end within {SHUTDOWN_GRACE:?} and are abandoned"),
    }
    drop(retention);
    backend.close().await.map_err(ServeError::Close)
}

/// Learns that the server is to stop.
#[derive(Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Waits until the server is to stop.
    async fn wait(&mut self) {
        // An error means that the server is gone, which comes to the same.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}
