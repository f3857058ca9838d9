//! HTTP routes for operators and their tools.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | JSON: 200 when the store accepts writes and every background task runs, or when writes are spooled; 503 with the reason otherwise; with the time of the last change and warnings |
//! | `/ready` | the same, and 503 once the host stops |
//! | `/live` | JSON: 200 when every background task runs, whatever the store does; 503 with the reason otherwise |
//! | `/metrics`, or as configured | metrics in the OpenMetrics text format, for Prometheus |
//! | `/api/v1/plugins` | the active plugins and their metrics, as a JSON array |

mod health;
mod host;
mod metrics;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{Semaphore, watch};

use super::traffic::Traffic;
use crate::config::OpenStorage;
use host::Host;
use reflow_tracing::maintenance::health::HealthMonitor;

/// How many answers with metrics are written at a time.
const SCRAPES: usize = 1;

/// The routes.
pub(super) struct Operations {
    host: Host,
    metrics: Option<String>,
}

impl Operations {
    /// Of this host. `metrics` is the path of the metrics, if they are served.
    pub(super) fn new(
        storage: OpenStorage,
        health: HealthMonitor,
        traffic: Traffic,
        metrics: Option<String>,
        stops: watch::Receiver<bool>,
    ) -> Self {
        let scrapes = Arc::new(Semaphore::new(SCRAPES));
        Self { host: Host { storage, health: Arc::new(health), traffic, scrapes, stops }, metrics }
    }

    /// Those beside Reflow's protocol.
    pub(super) fn main(&self) -> Router {
        self.probes().route("/api/v1/plugins", get(plugins)).with_state(self.host.clone())
    }

    /// Those of a listener of their own.
    pub(super) fn alone(&self) -> Router {
        let paths = self.metrics.iter().map(String::as_str).chain(["/health", "/ready", "/live"]).collect::<Vec<_>>();
        let not_found = format!("This port serves only {}.\n", paths.join(", "));
        self.probes().fallback(async move || (StatusCode::NOT_FOUND, not_found)).with_state(self.host.clone())
    }

    fn probes(&self) -> Router<Host> {
        let probes = Router::new()
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .route("/live", get(health::live));
        match &self.metrics {
            Some(path) => probes.route(path, get(metrics)),
            None => probes,
        }
    }
}

async fn metrics(State(host): State<Host>) -> Response {
    // It is never closed.
    let _permit = host.scrapes.acquire().await.ok();
    let figures = match host.storage.backend.get_metrics().await {
        Ok(figures) => figures,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let Host { storage, health, traffic, .. } = host.clone();
    // On another thread: connections must not wait for it, however often it is asked for.
    let encode = move || metrics::encode(&storage, &figures, health.health().as_ref(), &traffic);
    match tokio::task::spawn_blocking(encode).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn plugins(State(Host { storage, .. }): State<Host>) -> Response {
    Json(storage.plugins().iter().map(|plugin| plugin.report()).collect::<Vec<_>>()).into_response()
}
