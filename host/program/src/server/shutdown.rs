use tokio::sync::watch;

/// Tells a connection that the server shuts down.
#[derive(Clone)]
pub(super) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Stopped once the sender has sent `true` or is gone.
    pub(super) fn new(stopped: watch::Receiver<bool>) -> Self {
        Self(stopped)
    }

    /// Waits until the server shuts down.
    pub(super) async fn wait(&mut self) {
        // An error means that the sender is gone, and with it the server.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Whether the server shuts down.
    pub(super) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}
