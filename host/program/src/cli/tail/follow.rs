//! The live stream of a host, across its restarts.

use std::io::Write;
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream;
use serde::Serialize;

use crate::cli::output;
use crate::cli::printable::printable;
use crate::client::{ClientError, Connection, HostUrl};
use crate::ingest::SubscriptionFilters;
use crate::server::reflow::{TracingRequest, TracingResponse};
use reflow_tracing::{TraceEvent, TraceId};

/// The time before the first attempt to connect again. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// An event that was stored.
#[derive(Debug, Serialize)]
pub(super) struct Notification {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// The event.
    pub event: TraceEvent,
}

/// A subscription that is renewed when it ends.
pub(super) struct Follower {
    url: HostUrl,
    filters: SubscriptionFilters,
    reconnects: bool,
    connection: Connection,
}

impl Follower {
    /// Subscribes. Fails when the host can't be reached; later on, it is waited for if `reconnects`.
    pub(super) async fn connect(
        url: HostUrl,
        filters: SubscriptionFilters,
        reconnects: bool,
    ) -> Result<Self, ClientError> {
        let connection = Connection::open(&url).await?;
        let mut follower = Self { url, filters, reconnects, connection };
        follower.subscribe().await?;
        notice(&format!("following {}; Ctrl-C ends", follower.url));
        Ok(follower)
    }

    /// The events, until an error that waiting does not mend.
    pub(super) fn notifications(self) -> impl Stream<Item = Result<Notification, ClientError>> {
        stream::try_unfold(self, |mut follower| async move {
            let notification = follower.next().await?;
            Ok(Some((notification, follower)))
        })
    }

    /// Asks for the events, and waits until the host has confirmed it.
    async fn subscribe(&mut self) -> Result<(), ClientError> {
        let request = TracingRequest::Subscribe { filters: self.filters.clone() };
        match self.connection.ask(&request).await? {
            (TracingResponse::EventRecorded { success: true, .. }, _) => Ok(()),
            (other, _) => Err(self.connection.unexpected(&other)),
        }
    }

    async fn next(&mut self) -> Result<Notification, ClientError> {
        loop {
            match self.receive().await {
                Ok(notification) => return Ok(notification),
                Err(error @ (ClientError::Lost { .. } | ClientError::TimedOut { .. })) if self.reconnects => {
                    notice(&format!("{error}; waiting until it is back"));
                    self.reconnect().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(&mut self) -> Result<Notification, ClientError> {
        loop {
            let text = self.connection.watch().await?;
            match self.connection.parse(&text) {
                Ok(TracingResponse::EventNotification { trace_id, event }) => {
                    return Ok(Notification { trace_id, event });
                }
                // The subscription fell behind. The host says how many events were missed.
                Err(ClientError::Refused { message, .. }) => {
                    notice(&format!("{}: {message}", self.url));
                    self.subscribe().await?;
                    notice(&format!("following {} again", self.url));
                }
                // An event of a type that this version does not know.
                Err(ClientError::NotAHost { problem, .. }) => {
                    notice(&format!("skipped a message of {}: {problem}", self.url))
                }
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tries again until the host is back.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let since = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut problem = String::new();
        loop {
            tokio::time::sleep(pause).await;
            match self.try_again().await {
                Ok(()) => break,
                Err(error) if error.to_string() != problem => {
                    problem = error.to_string();
                    notice(&format!("{problem}; still waiting"));
                }
                Err(_) => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        let seconds = since.elapsed().as_secs_f64();
        notice(&format!("following {} again; events of the {seconds:.1} s in between were missed", self.url));
        Ok(())
    }

    async fn try_again(&mut self) -> Result<(), ClientError> {
        self.connection = Connection::open(&self.url).await?;
        self.subscribe().await
    }
}

/// A line on stderr, beside the events.
fn notice(text: &str) {
    // The reader may be gone; ignore the error.
    let _ = writeln!(output::stderr(), "{}", printable(text));
}
