//! What operators and their tools ask a host.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200 when the store can do its work now, with what an operator should know; 503 when not, with the reason; as JSON |
//! | `/metrics` | figures for Prometheus, in the OpenMetrics text format |
//! | `/api/v1/plugins` | the plugins at work and their figures, as a JSON array |

mod metrics;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::config::OpenStorage;

pub(super) fn router(storage: OpenStorage) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/api/v1/plugins", get(plugins))
        .with_state(storage)
}

async fn health(State(storage): State<OpenStorage>) -> Response {
    match storage.backend.health_check().await {
        Ok(()) => {
            let warnings = storage.backend.warnings();
            Json(json!({ "status": "ok", "backend": storage.name, "warnings": warnings })).into_response()
        }
        Err(error) => {
            let body = json!({ "status": "unavailable", "backend": storage.name, "error": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn metrics(State(storage): State<OpenStorage>) -> Response {
    match metrics::encode(&storage) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(feature = "plugins")]
async fn plugins(State(storage): State<OpenStorage>) -> Response {
    Json(storage.plugin.iter().map(|plugin| plugin.report()).collect::<Vec<_>>()).into_response()
}

/// This build has none.
#[cfg(not(feature = "plugins"))]
async fn plugins() -> Response {
    Json(json!([])).into_response()
}
