use std::sync::Arc;
use std::time::Duration;

use reflow_tracing_model::TraceId;

use super::entry::KIB;
use super::*;
use crate::StorageError;

struct Write {
    name: &'static str,
    traces: Vec<TraceId>,
    bytes: usize,
    is_alone: bool,
}

impl Entry for Write {
    type Answer = &'static str;

    fn size(&self) -> Size {
        Size::new(1, self.bytes)
    }

    fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.traces.iter().copied()
    }

    fn is_alone(&self) -> bool {
        self.is_alone
    }
}

fn write(name: &'static str) -> Write {
    Write { name, traces: Vec::new(), bytes: 1, is_alone: false }
}

fn of(trace_id: TraceId, name: &'static str) -> Write {
    Write { traces: vec![trace_id], ..write(name) }
}

const LIMITS: Limits = Limits {
    name: "the test",
    total: Size::new(1_000, 1 << 20),
    batch: Size::new(10, 64 * KIB),
    full: Size::new(10, 64 * KIB),
    at_once: 1,
    patience: None,
};

fn names(batch: &Batch<Write>) -> Vec<&'static str> {
    batch.entries.iter().map(|entry| entry.name).collect()
}

fn finish(batch: Batch<Write>) {
    let names = names(&batch);
    batch.answers.send(names);
}

/// The next batch, if one is due now.
async fn now(batches: &Batches<Write>) -> Option<Batch<Write>> {
    tokio::time::timeout(Duration::from_millis(1), batches.next()).await.ok().flatten()
}

fn push(lane: &Lane<Write>, entry: Write) -> Ticket<&'static str> {
    lane.try_push(entry).ok().expect("there is room")
}

#[tokio::test(start_paused = true)]
async fn writes_that_arrive_during_a_batch_share_the_next_one_and_each_gets_its_own_answer() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let mut first = push(&lane, write("first"));
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch), ["first"], "a lone write does not wait");
    let (mut second, mut third) = (push(&lane, write("second")), push(&lane, write("third")));
    assert!(now(&batches).await.is_none(), "one batch at a time");
    finish(batch);
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch), ["second", "third"]);
    finish(batch);
    for (ticket, name) in [(&mut first, "first"), (&mut second, "second"), (&mut third, "third")] {
        assert_eq!(ticket.answer().await.unwrap(), name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_with_many_writes_does_not_starve_another() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let (flood, other) = (queue.lane(), queue.lane());
    let _tickets: Vec<_> = (0..100).map(|_| push(&flood, write("flood"))).collect();
    let _tickets: Vec<_> = (0..3).map(|_| push(&other, write("other"))).collect();
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch)[..6], ["flood", "other", "flood", "other", "flood", "other"]);
    assert_eq!(batch.entries.len(), 10, "the batch is full all the same");
}

#[tokio::test(start_paused = true)]
async fn senders_without_room_wait_in_the_order_of_arrival() {
    let (queue, batches) = WriteQueue::new(Limits { total: Size::new(10, 1 << 20), ..LIMITS });
    let (flood, other) = (queue.lane(), queue.lane());
    let _tickets: Vec<_> = (0..10).map(|_| push(&flood, write("flood"))).collect();
    let waiting = [flood.push(write("flood")), other.push(write("other")), flood.push(write("flood"))];
    let waiting: Vec<_> = waiting.map(|push| tokio::spawn(push)).into_iter().collect();
    tokio::task::yield_now().await;
    assert!(other.try_push(write("early")).is_err(), "waiting senders come first");
    finish(batches.next().await.unwrap());
    for push in waiting {
        drop(push.await.unwrap().unwrap());
    }
    assert_eq!(names(&batches.next().await.unwrap()), ["flood", "other", "flood"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_and_in_flight_writes_are_limited_in_bytes() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let large = || Write { bytes: 512 * KIB, ..write("large") };
    let _tickets = [push(&lane, large()), push(&lane, large())];
    assert!(lane.try_push(large()).is_err());
    let batch = batches.next().await.unwrap();
    assert_eq!(batch.entries.len(), 1, "a batch is limited in bytes too");
    assert!(lane.try_push(large()).is_err(), "writes in flight count");
    finish(batch);
    assert!(lane.try_push(large()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_larger_than_the_limit_waits_until_the_queue_is_empty() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let _ticket = push(&lane, Write { bytes: 64 * KIB, ..write("small") });
    let giant = tokio::spawn(lane.push(Write { bytes: 1 << 30, ..write("giant") }));
    tokio::task::yield_now().await;
    assert!(!giant.is_finished());
    finish(batches.next().await.unwrap());
    giant.await.unwrap().unwrap();
    assert_eq!(names(&batches.next().await.unwrap()), ["giant"]);
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_trace_keep_their_order_across_batches() {
    let (queue, batches) = WriteQueue::new(Limits { at_once: 2, full: Size::new(1, 1), ..LIMITS });
    let (a, b, c) = (queue.lane(), queue.lane(), queue.lane());
    let (shared, own) = (TraceId::new(), TraceId::new());
    let _first = push(&a, of(shared, "first"));
    let first = batches.next().await.unwrap();
    let _tickets = [
        push(&b, Write { traces: vec![shared, own], ..write("second") }),
        push(&b, write("behind the second")),
        push(&c, of(own, "third")),
        push(&c, write("behind the third")),
    ];
    assert!(now(&batches).await.is_none(), "later lanes must not take the traces of the second");
    finish(first);
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch), ["second", "third", "behind the second", "behind the third"]);
}

#[tokio::test(start_paused = true)]
async fn a_trace_in_flight_does_not_block_other_traces() {
    let (queue, batches) = WriteQueue::new(Limits { at_once: 2, full: Size::new(1, 1), ..LIMITS });
    let (a, b) = (queue.lane(), queue.lane());
    let busy = TraceId::new();
    let _tickets = [push(&a, of(busy, "first"))];
    let first = batches.next().await.unwrap();
    let _tickets = [push(&a, of(busy, "second")), push(&b, of(TraceId::new(), "other"))];
    let other = batches.next().await.unwrap();
    assert_eq!(names(&other), ["other"]);
    finish(first);
    assert_eq!(names(&batches.next().await.unwrap()), ["second"], "batches end in any order");
}

#[tokio::test(start_paused = true)]
async fn only_one_small_batch_is_in_flight_but_full_ones_may_be_beside_it() {
    let (queue, batches) = WriteQueue::new(Limits { at_once: 3, ..LIMITS });
    let lane = queue.lane();
    let _ticket = push(&lane, write("small"));
    let small = batches.next().await.unwrap();
    let _tickets: Vec<_> = (0..9).map(|_| push(&lane, write("next"))).collect();
    assert!(now(&batches).await.is_none());
    let _ticket = push(&lane, write("the tenth"));
    let full = batches.next().await.unwrap();
    assert_eq!(full.entries.len(), 10);
    let _ticket = push(&lane, write("small"));
    assert!(now(&batches).await.is_none());
    finish(small);
    assert!(now(&batches).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_small_batch_waits_for_another_one_at_most_for_the_patience() {
    let patience = Duration::from_secs(1);
    let (queue, batches) = WriteQueue::new(Limits { at_once: 3, patience: Some(patience), ..LIMITS });
    let lane = queue.lane();
    let _ticket = push(&lane, write("slow"));
    let _slow = batches.next().await.unwrap();
    let waits = tokio::spawn({
        let batches = batches.clone();
        async move { batches.next().await.map(|batch| (batch.entries.len(), tokio::time::Instant::now())) }
    });
    tokio::task::yield_now().await;
    let pushed = tokio::time::Instant::now();
    let _ticket = push(&lane, write("next"));
    let (entries, at) = waits.await.unwrap().unwrap();
    assert_eq!((entries, at.duration_since(pushed)), (1, patience));
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_write_is_alone_in_its_batch_and_keeps_its_position() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let alone = Write { is_alone: true, ..write("alone") };
    let _tickets = [write("a"), write("b"), alone, write("c")].map(|entry| push(&lane, entry));
    for expected in [&["a", "b"][..], &["alone"], &["c"]] {
        let batch = batches.next().await.unwrap();
        assert_eq!(names(&batch), expected);
        finish(batch);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_batch_is_answered_and_the_next_one_follows() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let mut lost = push(&lane, of(TraceId::new(), "lost"));
    drop(batches.next().await.unwrap());
    let error = lost.answer().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("the test failed"), "{error}");
    let _ticket = push(&lane, write("next"));
    assert_eq!(names(&batches.next().await.unwrap()), ["next"]);
}

#[tokio::test(start_paused = true)]
async fn when_the_workers_end_waiting_writes_fail() {
    let (queue, batches) = WriteQueue::new(Limits { total: Size::new(1, 1 << 20), ..LIMITS });
    let lane = queue.lane();
    let mut waits = push(&lane, write("waits"));
    let outside = tokio::spawn(lane.push(write("outside")));
    tokio::task::yield_now().await;
    drop(batches);
    waits.answer().await.unwrap_err();
    let error = outside.await.unwrap().err().expect("it fails");
    assert!(error.to_string().contains("the test has ended"), "{error}");
    queue.write(write("late")).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn workers_end_after_the_last_sender_and_the_last_write() {
    let (queue, batches) = WriteQueue::new(Limits { at_once: 2, ..LIMITS });
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let batches = batches.clone();
            tokio::spawn(async move {
                let mut stored = 0;
                while let Some(batch) = batches.next().await {
                    stored += batch.entries.len();
                    finish(batch);
                }
                stored
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let lane = queue.lane();
    drop(queue);
    let tickets: Vec<_> = (0..25).map(|_| push(&lane, write("a"))).collect();
    drop(lane);
    let mut stored = 0;
    for worker in workers {
        stored += worker.await.unwrap();
    }
    assert_eq!(stored, tickets.len());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_earlier_writes() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let _ticket = push(&lane, write("a"));
    let batch = batches.next().await.unwrap();
    let drained = tokio::spawn({
        let queue = queue.clone();
        async move { queue.drained().await.unwrap() }
    });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    finish(batch);
    drained.await.unwrap();
    assert!(lane.try_push(write("b")).is_ok(), "there is room again");
}

#[test]
fn a_blocking_thread_can_be_a_worker() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let thread = std::thread::spawn(move || {
        while let Some(batch) = batches.blocking_next() {
            finish(batch);
        }
    });
    futures::executor::block_on(async {
        let writes = (0..100).map(|_| queue.write(write("a")));
        for answer in futures::future::join_all(writes).await {
            assert_eq!(answer.unwrap(), "a");
        }
    });
    drop(queue);
    thread.join().unwrap();
}

/// Stores `len` elements in a store that rejects the `invalid` ones and is full after `full_after` calls. Returns the outcomes and
/// the number of calls.
fn split(len: usize, invalid: &[usize], full_after: usize) -> (Vec<Result<(), String>>, usize) {
    let mut split = Split::new(len);
    let mut asked = 0;
    while let Some(range) = split.next() {
        asked += 1;
        split.outcome(match range {
            _ if asked > full_after => Err(StorageError::Exhausted("full".into())),
            range if range.clone().any(|element| invalid.contains(&element)) => {
                Err(StorageError::InvalidArgument("bad".into()))
            }
            _ => Ok(()),
        });
    }
    let outcomes = split.outcomes().map(|outcome| outcome.clone().map_err(|error| error.kind().to_owned()));
    (outcomes.collect(), asked)
}

#[test]
fn only_invalid_elements_fail() {
    let (outcomes, asked) = split(1_000, &[13, 999], usize::MAX);
    assert_eq!(outcomes.len(), 1_000);
    for (element, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), [13, 999].contains(&element), "{element}: {outcome:?}");
    }
    assert!(asked < 50, "{asked}");
}

#[test]
fn a_full_store_is_not_asked_again() {
    let (outcomes, asked) = split(1_000, &[13], 0);
    assert_eq!(asked, 1);
    assert!(outcomes.iter().all(|outcome| *outcome == Err("exhausted".into())) && outcomes.len() == 1_000);
    // Also if it becomes full during the bisection.
    let (outcomes, asked) = split(1_000, &[999], 2);
    assert_eq!(asked, 3);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 500);
    assert_eq!(outcomes.len(), 1_000);
}

#[test]
fn both_ends_can_be_shared_between_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    let (queue, batches) = WriteQueue::<Write>::new(LIMITS);
    assert_shared(&queue);
    assert_shared(&batches);
    assert_shared(&Arc::new(queue.lane()));
}
