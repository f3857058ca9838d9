//! Reflow's WebSocket protocol, on every path without another route.

mod connection;
mod frame;
mod message;
mod request;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::shutdown::Stopped;
use super::traffic::Traffic;
use crate::ingest::Ingest;
use connection::MAX_MESSAGE_BYTES;
pub use message::{ErrorCode, TraceResponse, TracingRequest, TracingResponse};

const NOT_A_WEBSOCKET: &str =
    "This is a Reflow tracing server. It speaks WebSocket: connect to it with a ws:// URL, on any path.\n";

#[derive(Clone)]
struct Shared {
    ingest: Ingest,
    traffic: Traffic,
    stopped: Stopped,
    alive: mpsc::Sender<Infallible>,
}

/// Upgrades every request to a connection, which holds `alive` until its traces have ended.
pub(super) fn router(ingest: Ingest, traffic: Traffic, stopped: Stopped, alive: mpsc::Sender<Infallible>) -> Router {
    Router::new().fallback(upgrade).with_state(Shared { ingest, traffic, stopped, alive })
}

async fn upgrade(
    State(Shared { ingest, traffic, stopped, alive }): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(MAX_MESSAGE_BYTES)
            .max_frame_size(MAX_MESSAGE_BYTES)
            .on_upgrade(move |socket| async move {
                connection::serve(socket, ingest, traffic.connection(peer), peer, stopped).await;
                drop(alive);
            })
            .into_response(),
        Err(_) => {
            let headers = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
            (StatusCode::UPGRADE_REQUIRED, headers, NOT_A_WEBSOCKET).into_response()
        }
    }
}
