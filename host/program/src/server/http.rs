//! Accepts connections and serves HTTP on them, with limits for what a request may have and how long it may take to arrive.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use super::listener::{SendTimeoutListener, Stream};
use super::shutdown::Stopped;
use crate::budget::{Account, Budget};

/// The longest head of a request: its first line and its headers. A longer one is answered with 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long the head of a request may take to arrive, from the connection or the last answer on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request that is being answered has when the host stops. One that has not arrived is not waited for.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// What a connection gets that finds no room in the budget.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 122\r\n\r\n\
      The memory for connections is used up (`max_buffered_mb` in `[server]` of the configuration of the host). Try again later.";

/// Serves `app` on the connections of `listener` until the server stops, and waits until they have ended.
pub(super) async fn serve(mut listener: SendTimeoutListener, app: Router, budget: Budget, mut stopped: Stopped) {
    // Nothing is ever sent: the channel closes when the last connection drops its sender.
    let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.wait() => break,
        };
        let Some(account) = budget.account() else {
            tracing::debug!(%peer, "refused a connection: the memory for connections is used up");
            // There is room for so few bytes in the system; if not, the peer sees it closed.
            let _ = stream.get_ref().try_write(NO_ROOM);
            continue;
        };
        // Answers are small and the peer waits for each, so they must not wait to fill a packet.
        if let Err(error) = stream.get_ref().set_nodelay(true) {
            tracing::debug!(%peer, "can't set TCP_NODELAY: {error}");
        }
        let (app, stopped, alive) = (app.clone(), stopped.clone(), alive.clone());
        tokio::spawn(async move {
            serve_connection(stream, peer, app, account, stopped).await;
            drop(alive);
        });
    }
    drop((listener, alive));
    while all_ended.recv().await.is_some() {}
}

async fn serve_connection(stream: Stream, peer: SocketAddr, app: Router, account: Account, mut stopped: Stopped) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(account.clone());
        app.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped.wait() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_ANSWER, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "a connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;

    /// A server that answers 404, and a way to stop it.
    async fn server(budget: Budget) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let listener = SendTimeoutListener::new(listener, Duration::from_secs(60));
        tokio::spawn(serve(listener, Router::new(), budget, Stopped::new(stopped)));
        (address, stop)
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        // The peer may have been reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_arrive_ends_the_connection() {
        let (address, _stop) = server(Budget::new(64 << 20)).await;
        for sent in ["", "GET / HTTP/1.1\r\nHost: h", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let since = Instant::now();
            let answer = answer(stream).await;
            assert_eq!(answer.starts_with("HTTP/1.1 404"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
            assert!(since.elapsed() >= HEAD_TIMEOUT && since.elapsed() < 2 * HEAD_TIMEOUT, "{:?}", since.elapsed());
        }
    }

    #[tokio::test]
    async fn a_connection_that_finds_no_room_is_told_why() {
        let budget = Budget::new(40 * 1024);
        let _only = budget.account().unwrap();
        let (address, _stop) = server(budget.clone()).await;
        let answer = answer(TcpStream::connect(address).await.unwrap()).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("Try again later."), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    }
}
