//! Reflow's WebSocket protocol, on every path without another route.

mod answer;
mod connection;
mod frame;
mod message;
mod request;
mod socket;
#[cfg(test)]
mod tests;
mod traces;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::shutdown::Stopped;
use super::traffic::Traffic;
use crate::ingest::Ingest;
pub use message::{TraceResponse, TracingRequest, TracingResponse};

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
    request: Request,
) -> Response {
    match socket::upgrade(request) {
        Ok((response, socket)) => {
            tokio::spawn(async move {
                match socket.await {
                    Ok(socket) => connection::serve(socket, ingest, traffic.connection(peer), peer, stopped).await,
                    Err(error) => tracing::debug!(%peer, "the peer is gone before the WebSocket is open: {error}"),
                }
                drop(alive);
            });
            response
        }
        Err(_) => {
            let headers = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
            (StatusCode::UPGRADE_REQUIRED, headers, NOT_A_WEBSOCKET).into_response()
        }
    }
}
