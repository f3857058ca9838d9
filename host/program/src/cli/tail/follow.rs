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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{StreamExt, TryStreamExt};
    use serde_json::json;

    use super::*;
    use crate::client::fake_host::{Peer, accept, listener};

    async fn confirm(peer: &mut Peer) {
        let request = peer.request().await.unwrap();
        assert_eq!(request["Subscribe"]["filters"]["actor_ids"], json!(["a"]));
        peer.send(json!({"EventRecorded": {"success": true, "error": null}})).await;
    }

    async fn notify(peer: &mut Peer, actor: &str) {
        let event = TraceEvent { actor_id: actor.into(), ..TraceEvent::default() };
        peer.send(json!({"EventNotification": {"trace_id": TraceId::new(), "event": event}})).await;
    }

    fn filters() -> SubscriptionFilters {
        SubscriptionFilters { actor_ids: Some(vec!["a".into()]), ..SubscriptionFilters::default() }
    }

    #[tokio::test]
    async fn a_subscription_is_renewed_when_it_fell_behind_and_when_the_host_was_gone() {
        let (listener, url) = listener().await;
        tokio::spawn(async move {
            let mut peer = accept(&listener).await;
            confirm(&mut peer).await;
            notify(&mut peer, "first").await;
            peer.send(json!({"Error": {"message": "9 events were missed", "code": "InternalError"}})).await;
            confirm(&mut peer).await;
            peer.send(json!({"NewerThanThisProgram": {}})).await;
            notify(&mut peer, "second").await;
            drop(peer);
            // The first attempt after that fails.
            drop(listener.accept().await);
            let mut peer = accept(&listener).await;
            confirm(&mut peer).await;
            notify(&mut peer, "third").await;
            peer.request().await
        });
        let follower = Follower::connect(url, filters(), true).await.unwrap();
        let events: Vec<_> = follower.notifications().take(3).try_collect().await.unwrap();
        let actors: Vec<_> = events.iter().map(|notification| notification.event.actor_id.as_str()).collect();
        assert_eq!(actors, ["first", "second", "third"]);
    }

    #[tokio::test]
    async fn a_host_that_is_gone_is_an_error_without_reconnecting() {
        let (listener, url) = listener().await;
        tokio::spawn(async move { confirm(&mut accept(&listener).await).await });
        let follower = Follower::connect(url, filters(), false).await.unwrap();
        let error = pin!(follower.notifications()).try_next().await.unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_subscription_that_is_refused_is_an_error() {
        let (listener, url) = listener().await;
        tokio::spawn(async move {
            let mut peer = accept(&listener).await;
            peer.request().await;
            peer.send(json!({"Error": {"message": "no subscriptions here", "code": "InvalidRequest"}})).await;
            peer.request().await
        });
        let error = Follower::connect(url, filters(), true).await.err().unwrap().to_string();
        assert!(error.contains("no subscriptions here"), "{error}");
    }
}
