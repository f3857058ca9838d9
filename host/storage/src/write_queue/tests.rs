use std::sync::Arc;

use reflow_tracing_model::TraceId;

use super::*;

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

/// The next batch, if there is one now.
async fn now(batches: &Batches<Write>) -> Option<Batch<Write>> {
    tokio::time::timeout(Duration::from_millis(1), batches.next()).await.ok().flatten()
}

fn push(lane: &Lane<Write>, entry: Write) -> Ticket<&'static str> {
    lane.try_push(entry).ok().expect("there is room")
}

#[tokio::test(start_paused = true)]
async fn writes_that_come_while_a_batch_is_in_flight_make_the_next_one_and_each_gets_its_own_answer() {
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
async fn a_lane_that_floods_does_not_starve_another() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let (flood, other) = (queue.lane(), queue.lane());
    let _tickets: Vec<_> = (0..100).map(|_| push(&flood, write("flood"))).collect();
    let _tickets: Vec<_> = (0..3).map(|_| push(&other, write("other"))).collect();
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch)[..6], ["flood", "other", "flood", "other", "flood", "other"]);
    assert_eq!(batch.entries.len(), 10, "the batch is full all the same");
}

#[tokio::test(start_paused = true)]
async fn a_sender_without_room_waits_its_turn_and_others_come_after_it() {
    let (queue, batches) = WriteQueue::new(Limits { total: Size::new(10, 1 << 20), ..LIMITS });
    let (flood, other) = (queue.lane(), queue.lane());
    let _tickets: Vec<_> = (0..10).map(|_| push(&flood, write("flood"))).collect();
    let waiting = [flood.push(write("flood")), other.push(write("other")), flood.push(write("flood"))];
    let waiting: Vec<_> = waiting.map(|push| tokio::spawn(push)).into_iter().collect();
    tokio::task::yield_now().await;
    assert!(other.try_push(write("early")).is_err(), "those that wait come first");
    finish(batches.next().await.unwrap());
    for push in waiting {
        drop(push.await.unwrap().unwrap());
    }
    assert_eq!(names(&batches.next().await.unwrap()), ["flood", "other", "flood"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_is_in_flight_is_bounded_in_bytes() {
    let (queue, batches) = WriteQueue::new(LIMITS);
    let lane = queue.lane();
    let large = || Write { bytes: 512 * KIB, ..write("large") };
    let _tickets = [push(&lane, large()), push(&lane, large())];
    assert!(lane.try_push(large()).is_err());
    let batch = batches.next().await.unwrap();
    assert_eq!(batch.entries.len(), 1, "a batch is bounded in bytes too");
    assert!(lane.try_push(large()).is_err(), "what is in flight counts");
    finish(batch);
    assert!(lane.try_push(large()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_whole_queue_waits_until_it_is_alone() {
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
async fn writes_of_one_trace_never_overtake_one_another_across_batches_in_flight() {
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
    assert!(now(&batches).await.is_none(), "nor does anyone take what the second needs before it");
    finish(first);
    let batch = batches.next().await.unwrap();
    assert_eq!(names(&batch), ["second", "third", "behind the second", "behind the third"]);
}

#[tokio::test(start_paused = true)]
async fn other_traces_are_stored_beside_one_that_is_in_flight() {
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
async fn one_small_batch_is_in_flight_at_a_time_and_full_ones_beside_it() {
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
async fn a_small_batch_waits_for_another_one_no_longer_than_its_patience() {
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
async fn what_has_to_be_alone_is_and_keeps_its_place() {
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
async fn a_batch_that_is_dropped_is_answered_and_the_next_one_follows() {
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
async fn when_the_workers_end_those_that_wait_are_told() {
    let (queue, batches) = WriteQueue::new(Limits { total: Size::new(1, 1 << 20), ..LIMITS });
    let lane = queue.lane();
    let mut waits = push(&lane, write("waits"));
    let outside = tokio::spawn(lane.push(write("outside")));
    tokio::task::yield_now().await;
    drop(batches);
    waits.answer().await.unwrap_err();
    let error = outside.await.unwrap().err().expect("it is told");
    assert!(error.to_string().contains("the test has ended"), "{error}");
    queue.write(write("late")).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn workers_end_once_what_waits_is_stored_and_nobody_sends() {
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
async fn draining_waits_for_what_came_before() {
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
    assert!(lane.try_push(write("b")).is_ok(), "the room is there again");
}

#[test]
fn a_thread_of_its_own_is_served_too() {
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

/// Stores elements, of which those in `invalid` are, until the store is full. The outcomes and how often it was asked.
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
fn only_what_is_invalid_is_split_out() {
    let (outcomes, asked) = split(1_000, &[13, 999], usize::MAX);
    assert_eq!(outcomes.len(), 1_000);
    for (element, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), [13, 999].contains(&element), "{element}: {outcome:?}");
    }
    assert!(asked < 50, "{asked}");
}

#[test]
fn a_full_store_is_asked_once() {
    let (outcomes, asked) = split(1_000, &[13], 0);
    assert_eq!(asked, 1);
    assert!(outcomes.iter().all(|outcome| *outcome == Err("exhausted".into())) && outcomes.len() == 1_000);
    // Also when it becomes full while the invalid ones are looked for.
    let (outcomes, asked) = split(1_000, &[999], 2);
    assert_eq!(asked, 3);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 500);
    assert_eq!(outcomes.len(), 1_000);
}

#[test]
fn two_ends_can_be_sent_between_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    let (queue, batches) = WriteQueue::<Write>::new(LIMITS);
    assert_shared(&queue);
    assert_shared(&batches);
    assert_shared(&Arc::new(queue.lane()));
}
