use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::config::OpenStorage;
use crate::server::traffic::Traffic;
use reflow_tracing::maintenance::health::HealthMonitor;

/// What the routes answer about.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) storage: OpenStorage,
    pub(super) health: Arc<HealthMonitor>,
    pub(super) traffic: Traffic,
    /// A permit for each answer with metrics that is written at a time. They take processor time, which others need too.
    pub(super) scrapes: Arc<Semaphore>,
    /// Whether the host stops.
    pub(super) stops: watch::Receiver<bool>,
}
