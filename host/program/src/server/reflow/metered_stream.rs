//! A stream whose unread messages are paid for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::frame_boundaries::FrameBoundaries;
use crate::budget::{Account, Share, UsedUp};

/// What may arrive of a message before it takes a share of the budget. The connection itself pays for it.
const FREE_BYTES: usize = 32 * 1024;

/// What a message takes of the budget at a time while it arrives.
const STEP: usize = 256 * 1024;

/// The longest pause within a message that has taken a share.
const PAUSE: Duration = Duration::from_secs(60);

/// A stream that takes what arrives from the budget before it reads it, and waits when that is used up. So a message that was
/// announced costs nothing, and one that never ends costs what there is of it.
pub(super) struct MeteredStream<S> {
    stream: S,
    account: Account,
    /// The bytes since the last message.
    unread: usize,
    share: Option<Share>,
    waiting: Option<BoxFuture<'static, Result<Share, UsedUp>>>,
    pause: Pin<Box<Sleep>>,
    boundaries: FrameBoundaries,
}

impl<S> MeteredStream<S> {
    pub(super) fn new(stream: S, account: Account) -> Self {
        let pause = Box::pin(tokio::time::sleep(PAUSE));
        let boundaries = FrameBoundaries::default();
        Self { stream, account, unread: 0, share: None, waiting: None, pause, boundaries }
    }

    /// A message has arrived. Returns the share that it took.
    pub(super) fn message_arrived(&mut self) -> Option<Share> {
        // What arrived of the next one is in the buffer of the connection.
        self.unread = 0;
        self.boundaries.taken();
        self.share.take()
    }

    /// The buffers of the WebSocket became large, or may have.
    pub(super) fn has_large_buffers(&mut self) {
        self.boundaries.has_large = true;
    }

    /// Whether the buffers of the WebSocket became large, and nothing is in the one for reading.
    pub(super) fn may_renew(&self) -> bool {
        self.boundaries.has_large && self.boundaries.is_between_messages()
    }

    /// The WebSocket has new buffers.
    pub(super) fn renewed(&mut self) {
        self.boundaries.has_large = false;
    }

    /// Reads whatever comes until the peer closes, and forgets it: a connection that is closed with unread data is reset, and the
    /// peer may not see why.
    pub(super) async fn discard(self)
    where
        S: AsyncRead + Unpin,
    {
        let Self { mut stream, share, .. } = self;
        drop(share);
        let mut buffer = vec![0; FREE_BYTES];
        while let Ok(1..) = stream.read(&mut buffer).await {}
    }

    /// Waits until there is a share for so many more bytes.
    fn poll_pay(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        while self.unread + bytes > FREE_BYTES + self.share.as_ref().map_or(0, Share::bytes) {
            let account = &self.account;
            let waiting = self.waiting.get_or_insert_with(|| account.take(bytes.max(STEP)).boxed());
            let taken = ready!(waiting.poll_unpin(cx));
            self.waiting = None;
            let taken = taken.map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
            match &mut self.share {
                Some(share) => share.merge(taken),
                none => *none = Some(taken),
            }
            self.restart_pause();
        }
        Poll::Ready(Ok(()))
    }

    fn restart_pause(&mut self) {
        let until = Instant::now() + PAUSE;
        self.pause.as_mut().reset(until);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Not beyond the end of a large frame, so that its buffer can be replaced.
        let most = if self.boundaries.has_large { self.boundaries.until_next() } else { usize::MAX };
        let most = buffer.remaining().min(most);
        ready!(self.poll_pay(cx, most))?;
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        if Pin::new(&mut self.stream).poll_read(cx, &mut part)?.is_pending() {
            if self.share.is_some() {
                ready!(self.pause.poll_unpin(cx));
                let problem = "the rest of a message did not arrive";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)));
            }
            return Poll::Pending;
        }
        let length = part.filled().len();
        self.unread += length;
        self.boundaries.read(part.filled());
        buffer.advance(length);
        if self.share.is_some() {
            self.restart_pause();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::budget::Budget;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn what_arrives_of_a_message_is_paid_for_until_the_message_is_there() {
        let budget = Budget::new(64 * MIB);
        let account = budget.account().unwrap();
        let idle = account.held();
        let (mut peer, stream) = tokio::io::duplex(MIB);
        let mut stream = MeteredStream::new(stream, account.clone());
        tokio::spawn(async move {
            peer.write_all(&vec![0; 2 * MIB]).await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut part = vec![0; 16 * 1024];
        stream.read_exact(&mut part).await.unwrap();
        assert_eq!(account.held(), idle, "a short message takes no share");
        for _ in 1..128 {
            stream.read_exact(&mut part).await.unwrap();
        }
        assert!((2 * MIB..3 * MIB).contains(&account.held()), "{}", account.held());
        let share = stream.message_arrived();
        drop(share);
        assert_eq!(account.held(), idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_in_the_middle_ends_the_connection() {
        let budget = Budget::new(64 * MIB);
        let (mut peer, stream) = tokio::io::duplex(MIB);
        let mut stream = MeteredStream::new(stream, budget.account().unwrap());
        peer.write_all(&vec![0; MIB / 2]).await.unwrap();
        let mut message = vec![0; MIB];
        let error = stream.read_exact(&mut message).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn reading_waits_for_the_budget_and_the_greediest_makes_room() {
        let budget = Budget::new(64 * MIB);
        let greedy = budget.account().unwrap();
        let share = greedy.try_take(56 * MIB - 64 * 1024).unwrap();
        let (mut peer, stream) = tokio::io::duplex(MIB);
        let mut stream = MeteredStream::new(stream, budget.account().unwrap());
        peer.write_all(&vec![0; MIB]).await.unwrap();
        let reading = tokio::spawn(async move { stream.read_exact(&mut vec![0; MIB]).await.map(drop) });
        greedy.ended().await;
        assert!(!reading.is_finished());
        drop((greedy, share));
        reading.await.unwrap().unwrap();
    }
}
