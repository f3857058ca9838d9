//! Whether the host works and takes writes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::host::Host;
use reflow_tracing::storage::{AlsoMetrics, StorageBackendExt};

/// Whether the host takes writes.
pub(super) async fn health(State(host): State<Host>) -> Response {
    let mut checked = check(&host).await;
    if checked.body["error"].is_null() {
        let mut warnings = host.storage.backend.warnings();
        warnings.extend(host.health.warnings());
        checked.body["warnings"] = warnings.into();
    }
    checked.into_response()
}

/// Whether the host should receive traffic: it takes writes, and does not stop.
pub(super) async fn ready(State(host): State<Host>) -> Response {
    let mut checked = check(&host).await;
    if *host.stops.borrow() {
        checked.takes_writes = false;
        checked.body["status"] = "stopping".into();
        checked.body["error"] = "the host was asked to stop".into();
        checked.body["checks"]["shutdown"] = "the host was asked to stop".into();
    } else {
        checked.body["checks"]["shutdown"] = OK.into();
    }
    checked.into_response()
}

/// Whether the process works. A restart doesn't help against anything else, such as a database that is away.
pub(super) async fn live(State(Host { health, .. }): State<Host>) -> Response {
    let problem = health.task_problem();
    let status = if problem.is_none() { "ok" } else { "unavailable" };
    let body = json!({ "status": status, "checks": { "tasks": problem.as_deref().unwrap_or(OK) } });
    Checked { takes_writes: problem.is_none(), body }.into_response()
}

const OK: &str = "ok";

/// The result of the checks.
struct Checked {
    takes_writes: bool,
    body: Value,
}

impl IntoResponse for Checked {
    fn into_response(self) -> Response {
        let code = if self.takes_writes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(self.body)).into_response()
    }
}

async fn check(Host { storage, health: monitor, .. }: &Host) -> Checked {
    let health = monitor.check().await;
    let tasks = monitor.task_problem();
    let (spool, also) = storage.backend.get_metrics().await.map_or((None, Vec::new()), |it| (it.spool, it.also));
    let spool = spool.map(|spool| if spool.is_full() { Spool::IsFull } else { Spool::HasRoom });
    let status = match (&health.error, spool) {
        (None, _) => "ok",
        (Some(_), Some(Spool::HasRoom)) if !health.refuses => "spooling",
        (Some(_), _) => "unavailable",
    };
    let mut checks = json!({ "tasks": tasks.as_deref().unwrap_or(OK) });
    // While a task is down, its problem is the one of the store.
    checks["store"] = health.error.as_deref().filter(|_| tasks.is_none()).unwrap_or(OK).into();
    if let Some(spool) = spool {
        checks["spool"] = if spool == Spool::HasRoom { OK } else { "it is full" }.into();
    }
    let mut body = json!({ "status": status, "backend": storage.name, "since": health.since, "checks": checks });
    if !also.is_empty() {
        body["also"] = also.iter().map(describe).collect();
    }
    if let Some(error) = health.error {
        body["error"] = error.into();
    }
    Checked { takes_writes: status != "unavailable", body }
}

/// Whether writes can be accepted while the backend is unavailable. Then the host must stay in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spool {
    HasRoom,
    IsFull,
}

/// The state of a backend that gets every write besides the store. It does not decide whether the host takes writes.
fn describe(also: &AlsoMetrics) -> Value {
    let AlsoMetrics { backend, queue, dropped_events, dropped_traces, .. } = also;
    let status = match &queue.away_since {
        _ if queue.is_full() => "full",
        Some(_) => "unavailable",
        None => OK,
    };
    let mut body = json!({
        "backend": backend,
        "status": status,
        "queued": { "events": queue.pending_events, "headers": queue.pending_traces, "bytes": queue.bytes },
        "dropped": { "events": dropped_events, "headers": dropped_traces },
        "refused": queue.refused,
    });
    if let (Some(since), Some(error)) = (queue.away_since, &queue.error) {
        (body["since"], body["error"]) = (json!(since), error.as_str().into());
    }
    if let (Some(at), Some(reason)) = (also.last_drop, &also.drop_reason) {
        (body["dropped"]["last"], body["dropped"]["reason"]) = (json!(at), reason.as_str().into());
    }
    body
}
