//! HTTP routes for operators and their tools.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | JSON: 200 when the store accepts writes and every background task runs, or when writes are spooled; 503 with the reason otherwise; with the time of the last change and warnings |
//! | `/metrics` | metrics in the OpenMetrics text format, for Prometheus |
//! | `/api/v1/plugins` | the active plugins and their metrics, as a JSON array |

mod metrics;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::traffic::Traffic;
use crate::config::OpenStorage;
use reflow_tracing::maintenance::health::HealthMonitor;
use reflow_tracing::storage::StorageBackendExt;

#[derive(Clone)]
struct Host {
    storage: OpenStorage,
    health: Arc<HealthMonitor>,
    traffic: Traffic,
}

pub(super) fn router(storage: OpenStorage, monitor: HealthMonitor, traffic: Traffic) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/api/v1/plugins", get(plugins))
        .with_state(Host { storage, health: Arc::new(monitor), traffic })
}

async fn health(State(Host { storage, health, .. }): State<Host>) -> Response {
    let (backend, monitor) = (&storage.name, health);
    let health = monitor.check().await;
    let mut warnings = storage.backend.warnings();
    warnings.extend(monitor.warnings());
    match health.error {
        None => Json(json!({ "status": "ok", "backend": backend, "since": health.since, "warnings": warnings }))
            .into_response(),
        Some(error) if !health.refuses && is_spooling(&storage).await => {
            Json(json!({ "status": "spooling", "backend": backend, "since": health.since, "error": error }))
                .into_response()
        }
        Some(error) => {
            let body = json!({ "status": "unavailable", "backend": backend, "since": health.since, "error": error });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Whether writes are accepted although the backend is unavailable. Then the host must stay in service.
async fn is_spooling(storage: &OpenStorage) -> bool {
    let metrics = storage.backend.get_metrics().await;
    metrics.ok().and_then(|metrics| metrics.spool).is_some_and(|spool| !spool.is_full())
}

async fn metrics(State(Host { storage, health, traffic }): State<Host>) -> Response {
    let figures = match storage.backend.get_metrics().await {
        Ok(figures) => figures,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    match metrics::encode(&storage, &figures, health.health().as_ref(), &traffic) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn plugins(State(Host { storage, .. }): State<Host>) -> Response {
    Json(storage.plugin.iter().map(|plugin| plugin.report()).collect::<Vec<_>>()).into_response()
}
