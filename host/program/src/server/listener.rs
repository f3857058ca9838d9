//! Connections with a time limit for sending.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// Accepts connections that fail when the peer receives nothing for a time although data waits to be sent. A slow peer that
/// receives a little is not cut off.
pub(super) struct SendTimeoutListener {
    listener: TcpListener,
    send_timeout: Duration,
}

impl SendTimeoutListener {
    pub(super) fn new(listener: TcpListener, send_timeout: Duration) -> Self {
        Self { listener, send_timeout }
    }
}

/// A connection.
pub(super) type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

impl Listener for SendTimeoutListener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.send_timeout));
        (Box::pin(stream), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn connected(send_timeout: Duration) -> (<SendTimeoutListener as Listener>::Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = SendTimeoutListener::new(listener, send_timeout);
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.0, peer)
    }

    /// More bytes than the system's buffers hold.
    const MUCH: usize = 64 * 1024 * 1024;

    #[tokio::test]
    async fn a_connection_whose_peer_receives_nothing_fails() {
        let (mut connection, _peer) = connected(Duration::from_millis(100)).await;
        let error = connection.write_all(&vec![0; MUCH]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_receives_everything() {
        let (mut connection, mut peer) = connected(Duration::from_secs(60)).await;
        let sending = tokio::spawn(async move { connection.write_all(&vec![0; MUCH]).await });
        let mut taken = 0;
        let mut buffer = vec![0; 1024 * 1024];
        while let length @ 1.. = peer.read(&mut buffer).await.unwrap() {
            taken += length;
        }
        sending.await.unwrap().unwrap();
        assert_eq!(taken, MUCH);
    }
}
