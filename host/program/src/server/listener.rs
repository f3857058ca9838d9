//! Connections of peers that have to take what is sent to them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// Accepts connections, each of which fails when its peer takes nothing for a time although something waits to be written.
/// A slow peer that takes a little now and then may go on.
pub(super) struct ImpatientListener {
    listener: TcpListener,
    send_timeout: Duration,
}

impl ImpatientListener {
    pub(super) fn new(listener: TcpListener, send_timeout: Duration) -> Self {
        Self { listener, send_timeout }
    }
}

impl Listener for ImpatientListener {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
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

    async fn connected(send_timeout: Duration) -> (<ImpatientListener as Listener>::Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = ImpatientListener::new(listener, send_timeout);
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.0, peer)
    }

    /// More than the system's buffers hold.
    const MUCH: usize = 64 * 1024 * 1024;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut connection, _peer) = connected(Duration::from_millis(100)).await;
        let error = connection.write_all(&vec![0; MUCH]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_what_is_sent_gets_it_all() {
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
