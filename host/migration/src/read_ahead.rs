//! Reads streams in a separate task or thread, so that reading continues during writes.

use futures::future::OptionFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The maximum number of items per message.
const READY_ITEMS: usize = 100;
/// A message that weighs this much takes no further item: whatever the sizes of the items, little is in memory.
const READY_BYTES: usize = 4 << 20;

/// A stream that a task reads ahead by one item. The task ends with the stream.
pub(crate) fn read_ahead<T, Fut>(read: impl FnOnce(mpsc::Sender<T>) -> Fut + Send + 'static) -> BoxStream<'static, T>
where
    T: Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(1);
        received(receiver, tokio::spawn(read(sender)))
    })
    .flatten()
    .boxed()
}

/// A stream of the items that `read` sends from a thread of its own, which is `capacity` items ahead.
pub(crate) fn read_in_thread<T: Send + 'static>(
    capacity: usize,
    read: impl FnOnce(mpsc::Sender<T>) + Send + 'static,
) -> BoxStream<'static, T> {
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(capacity);
        received(receiver, tokio::task::spawn_blocking(move || read(sender)))
    })
    .flatten()
    .boxed()
}

/// The items that `task` sends.
fn received<T>(receiver: mpsc::Receiver<T>, task: JoinHandle<()>) -> impl Stream<Item = T> {
    stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
        match receiver.recv().await {
            Some(item) => Some((item, (receiver, task))),
            None => {
                // Without this, a stream whose task panicked would look complete.
                if let Some(Err(error)) = OptionFuture::from(task.take()).await
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
                None
            }
        }
    })
}

/// Sends the items until the receiver is gone.
pub(crate) async fn forward<T>(mut items: BoxStream<'_, T>, sender: mpsc::Sender<T>) {
    while let Some(item) = items.next().await {
        if sender.send(item).await.is_err() {
            return;
        }
    }
}

/// Sends items that are ready together as one message, because a message costs more than most parts do.
///
/// The items are polled even while the channel is full: a call to a store may hold what the receiver needs to continue. What is
/// ready meanwhile is bounded in bytes, by what `bytes_of` says of an item.
pub(crate) async fn forward_ready<T>(
    mut items: BoxStream<'_, T>,
    sender: mpsc::Sender<Vec<T>>,
    bytes_of: impl Fn(&T) -> usize,
) {
    let mut ready = Vec::new();
    let mut ready_bytes = 0;
    let mut ended = false;
    while !(ended && ready.is_empty()) {
        tokio::select! {
            biased;
            item = items.next(), if !ended && ready.len() < READY_ITEMS && ready_bytes < READY_BYTES => match item {
                Some(item) => {
                    ready_bytes += bytes_of(&item);
                    ready.push(item);
                }
                None => ended = true,
            },
            room = sender.reserve(), if !ready.is_empty() => match room {
                Ok(room) => {
                    ready_bytes = 0;
                    room.send(std::mem::take(&mut ready));
                }
                Err(_) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn items_that_wait_for_a_slow_receiver_are_bounded_in_bytes() {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let items = stream::repeat_with(move || counted.fetch_add(1, SeqCst)).take(READY_ITEMS).boxed();
        let (sender, mut receiver) = mpsc::channel(1);
        let task = tokio::spawn(forward_ready(items, sender, |_| READY_BYTES / 4));
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(read.load(SeqCst) <= 2 * 4, "{} items are in memory", read.load(SeqCst));
        let mut received = Vec::new();
        while let Some(items) = receiver.recv().await {
            received.extend(items);
        }
        task.await.unwrap();
        assert_eq!(received, (0..READY_ITEMS).collect::<Vec<_>>());
    }
}
