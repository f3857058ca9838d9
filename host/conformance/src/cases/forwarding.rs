//! What only a forwarder is asked: its receiver fails, refuses, or does not answer.

use std::time::{Duration, Instant};

use super::super::case::{cases, ensure};
use super::super::{Answer, Failure, Outcome, Receiver, Store};
use super::sample::{event, holds, trace, trace_id, with_events};
use reflow_tracing_storage::StorageError;

cases! { "forwarding" with a receiver:
    a_receiver_that_answers_is_healthy => "health_check succeeds when the receiver can be reached.",
    a_failing_receiver_is_a_retryable_error => "A receiver that answers 500 or 503 makes the write fail, and a retry can help.",
    a_refusal_is_a_permanent_error => "A receiver that answers 400 makes the write fail, and no retry helps.",
    what_failed_arrives_when_it_is_written_again => "A write that failed can be repeated, and then arrives whole.",
    an_acknowledged_batch_has_arrived_whole => "A write is acknowledged when all of it was accepted, whichever of its requests fail.",
    a_silent_receiver_costs_a_bounded_time => "A write that gets no answer fails in bounded time, and a retry can help.",
}

/// Longer than any time limit that is sensible for a call.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a write with a few failing requests is repeated.
const REPEATS: usize = 10;

async fn a_receiver_that_answers_is_healthy(store: &Store, _: &Receiver) -> Outcome {
    Ok(store.health_check().await?)
}

async fn a_failing_receiver_is_a_retryable_error(store: &Store, receiver: &Receiver) -> Outcome {
    receiver.answer([], Answer::Refuse(500));
    retryable(refused("store_trace", receiver, store.store_trace(trace(1)).await)?)?;
    receiver.answer([], Answer::Refuse(503));
    retryable(refused("store_event", receiver, store.store_event(trace_id(1), event(1)).await)?)
}

async fn a_refusal_is_a_permanent_error(store: &Store, receiver: &Receiver) -> Outcome {
    receiver.answer([], Answer::Refuse(400));
    for (what, written) in [
        ("store_trace", store.store_trace(trace(1)).await),
        ("store_event", store.store_event(trace_id(1), event(1)).await),
    ] {
        let error = refused(what, receiver, written)?;
        ensure!(!error.is_retryable(), "{what}: expected an error that is not retryable, found {error}");
    }
    Ok(())
}

async fn what_failed_arrives_when_it_is_written_again(store: &Store, receiver: &Receiver) -> Outcome {
    let sent = with_events(trace(1), (0..3).map(event));
    receiver.answer([], Answer::Refuse(503));
    refused("store_trace", receiver, store.store_trace(sent.clone()).await)?;
    receiver.answer([], Answer::Accept);
    store.store_trace(sent.clone()).await?;
    holds(store, sent).await
}

async fn an_acknowledged_batch_has_arrived_whole(store: &Store, receiver: &Receiver) -> Outcome {
    store.store_trace(trace(1)).await?;
    let events = || (0..5_000).map(event);
    use Answer::{Accept, Refuse};
    // The second one meets the middle of a batch that is sent in parts.
    receiver.answer([Refuse(503), Accept, Refuse(500)], Accept);
    for _ in 0..REPEATS {
        match store.store_events(events().map(|event| (trace_id(1), event)).collect()).await {
            Ok(()) => return holds(store, with_events(trace(1), events())).await,
            Err(error) => retryable(error)?,
        }
    }
    Err(Failure::here(format_args!("store_events: still failing at the repeat number {REPEATS}")))
}

async fn a_silent_receiver_costs_a_bounded_time(store: &Store, receiver: &Receiver) -> Outcome {
    receiver.answer([], Answer::Silence);
    let begin = Instant::now();
    let written = tokio::time::timeout(PATIENCE, store.store_trace(trace(1))).await;
    let Ok(written) = written else {
        return Err(Failure::here(format_args!("store_trace: still waiting after {:?}", begin.elapsed())));
    };
    retryable(refused("store_trace", receiver, written)?)?;
    receiver.answer([], Answer::Accept);
    store.store_trace(trace(1)).await?;
    holds(store, trace(1)).await
}

/// The error of a write that the receiver did not accept.
#[track_caller]
fn refused(what: &str, receiver: &Receiver, written: Result<(), StorageError>) -> Result<StorageError, Failure> {
    let Err(error) = written else {
        return Err(Failure::here(format_args!("{what}: expected an error, since the receiver accepted nothing")));
    };
    ensure!(receiver.requests() > 0, "{what}: no request reached the receiver: {error}");
    Ok(error)
}

#[track_caller]
fn retryable(error: StorageError) -> Outcome {
    ensure!(error.is_retryable(), "expected an error that is retryable, found {error}");
    Ok(())
}
