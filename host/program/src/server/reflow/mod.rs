//! Reflow's WebSocket protocol, on every path without another route.

mod answer;
mod compression;
mod connection;
mod frame;
mod frame_boundaries;
mod large;
mod message;
mod metered_stream;
mod request;
mod socket;
#[cfg(test)]
mod tests;
mod traces;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, mpsc};

use super::shutdown::Stopped;
use super::traffic::Traffic;
use crate::budget::Account;
use crate::ingest::Ingest;
pub use message::{ErrorCode, TraceResponse, TracingRequest, TracingResponse};

const NOT_A_WEBSOCKET: &str =
    "This is a Reflow tracing server. It speaks WebSocket: connect to it with a ws:// URL, on any path.\n";

const TOO_MANY_CONNECTIONS: &str = "The host has as many connections as `max_connections` in `[server]` of its configuration allows. Try again later.\n";

const STOPPING: &str = "The host is stopping. Connect again later, or to another one.\n";

#[derive(Clone)]
struct Shared {
    ingest: Ingest,
    traffic: Traffic,
    /// A permit for each connection.
    connections: Arc<Semaphore>,
    stopped: Stopped,
    alive: mpsc::WeakSender<Infallible>,
}

/// Upgrades every request to a connection, which holds a sender of `alive` until its traces have ended. When there is none, the host
/// takes no more.
pub(super) fn router(
    ingest: Ingest,
    traffic: Traffic,
    max_connections: Option<NonZeroUsize>,
    stopped: Stopped,
    alive: mpsc::WeakSender<Infallible>,
) -> Router {
    let permits = max_connections.map_or(Semaphore::MAX_PERMITS, |max| max.get().min(Semaphore::MAX_PERMITS));
    let connections = Arc::new(Semaphore::new(permits));
    Router::new().fallback(upgrade).with_state(Shared { ingest, traffic, connections, stopped, alive })
}

async fn upgrade(
    State(Shared { ingest, traffic, connections, stopped, alive }): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Response {
    match socket::upgrade(request, account.clone()) {
        Ok((response, socket)) => {
            let Some(alive) = alive.upgrade() else {
                return (StatusCode::SERVICE_UNAVAILABLE, STOPPING).into_response();
            };
            let Ok(permit) = connections.try_acquire_owned() else {
                traffic.turned_away(peer);
                return (StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_CONNECTIONS).into_response();
            };
            tokio::spawn(async move {
                match socket.await {
                    Ok(socket) => {
                        connection::serve(socket, ingest, traffic.connection(peer), peer, account, stopped).await;
                    }
                    Err(error) => tracing::debug!(%peer, "the peer is gone before the WebSocket is open: {error}"),
                }
                drop((permit, alive));
            });
            response
        }
        Err(_) => {
            let headers = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
            (StatusCode::UPGRADE_REQUIRED, headers, NOT_A_WEBSOCKET).into_response()
        }
    }
}
