//! A stream with a byte budget, which bounds the memory that an answer takes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use redis::ConnectionAddr;
use redis::aio::AsyncStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Cost of each line in addition to its bytes: most lines start a value, and each value takes memory in the host however
/// small it is.
const LINE_BYTES: usize = 64;

/// The budget and the state of a stream.
#[derive(Default)]
pub(super) struct Meter {
    /// The remaining budget.
    left: AtomicUsize,
    /// Whether an answer exceeded the budget.
    exceeded: AtomicBool,
    /// Whether the server has closed it.
    closed: AtomicBool,
}

impl Meter {
    /// Sets the remaining budget.
    pub(super) fn allow(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Whether an answer exceeded the budget. The stream is then unusable.
    pub(super) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Whether the server has closed the stream.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// A stream that reads no more than its meter allows.
pub(super) struct Metered {
    inner: Pin<Box<dyn AsyncStream + Send>>,
    meter: Arc<Meter>,
}

impl Metered {
    /// Connects to a server, over `tls` if the address says so.
    pub(super) async fn connect(address: &ConnectionAddr, tls: &TlsConnector, meter: Arc<Meter>) -> io::Result<Self> {
        let inner: Pin<Box<dyn AsyncStream + Send>> = match address {
            ConnectionAddr::Tcp(host, port) => Box::pin(connect_tcp(host, *port).await?),
            ConnectionAddr::TcpTls { host, port, .. } => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Box::pin(tls.connect(name, connect_tcp(host, *port).await?).await?)
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Box::pin(tokio::net::UnixStream::connect(path).await?),
            other => return Err(io::Error::other(format!("can't connect to an address of this kind: {other:?}"))),
        };
        Ok(Self { inner, meter })
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(self.inner.as_mut().poll_read(cx, buf));
        let new = &buf.filled()[before..];
        if read.is_err() || new.is_empty() {
            self.meter.closed.store(true, Ordering::Relaxed);
        }
        let cost = new.len() + LINE_BYTES * new.iter().filter(|byte| **byte == b'\n').count();
        let fits = self.meter.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        if fits.is_err() {
            self.meter.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("the answer has too many bytes")));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
