//! Events of a batch, stored by handle.

use reflow_tracing_model::{EventId, TraceEvent, TraceId};

use super::{MAX_KEY, until_gone};
use crate::capabilities::keyvalue::bucket::Bucket;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::keyvalue::{EventEntry, KeyvalueError, Part};
use crate::contract::flows::Flows;

fn batch(events: &[(u128, &str)]) -> EventBatch {
    let event = |&(id, actor): &(u128, &str)| {
        let event_id = EventId(uuid::Uuid::from_u128(id));
        let timestamp = chrono::DateTime::from_timestamp_nanos(-1);
        let event = TraceEvent { event_id, timestamp, actor_id: actor.into(), ..TraceEvent::default() };
        (TraceId(uuid::Uuid::from_u128(7)), event)
    };
    EventBatch::new(events.iter().map(event).collect(), &Flows::default())
}

/// The body of each event by its time and id, and an index by actor.
fn entries() -> Vec<EventEntry> {
    let (fixed, sortable) = (|bytes: &[u8]| Part::Fixed(bytes.into()), |name: &str| Part::Sortable(name.into()));
    vec![
        EventEntry {
            key: vec![fixed(b"e"), sortable("trace-id"), sortable("timestamp"), sortable("event-id")],
            value: vec![Part::Field("body".into())],
        },
        EventEntry {
            key: vec![fixed(b"a"), Part::Field("trace-id".into()), Part::Present("error".into()), sortable("actor-id")],
            value: Vec::new(),
        },
    ]
}

pub(super) async fn events_of_a_batch_are_inserted_once(bucket: &Bucket) {
    let first = batch(&[(1, "a"), (2, "b"), (1, "c"), (3, "a")]);
    assert_eq!(bucket.insert_batch(entries(), first, None).await.unwrap(), 3, "the third is the first once more");
    let again = batch(&[(2, "other"), (4, "d")]);
    assert_eq!(bucket.insert_batch(entries(), again, None).await.unwrap(), 1);
    let actors: Vec<_> =
        ["a", "b", "d"].map(|actor| format!("a00000000-0000-0000-0000-0000000000070{actor}").into_bytes()).into();
    assert_eq!(bucket.keys(b"a").await, actors);
    let events = bucket.list(b"e", 10, false).await;
    let mut key = [b"e".as_slice(), &7_u128.to_be_bytes(), &[0x7f], &[0xff; 7], &1_u128.to_be_bytes()].concat();
    for ((stored, body), id) in events.iter().zip([1_u8, 2, 3, 4]) {
        *key.last_mut().unwrap() = id;
        assert_eq!(stored, &key);
        let event: TraceEvent = crate::contract::body::decode(body).unwrap();
        assert_eq!(event.event_id.0.as_u128(), u128::from(id));
    }
    assert_eq!(events.len(), 4);
    // A lifetime of its own, and what has expired does not exist.
    assert_eq!(bucket.insert_batch(entries(), batch(&[(9, "z")]), Some(1)).await.unwrap(), 1);
    *key.last_mut().unwrap() = 9;
    until_gone(bucket, &key).await;
    assert_eq!(bucket.insert_batch(entries(), batch(&[(9, "z")]), None).await.unwrap(), 1);
    assert_eq!(bucket.insert_batch(entries(), batch(&[]), None).await.unwrap(), 0);
}

pub(super) async fn a_batch_of_events_is_inserted_as_a_whole_or_not_at_all(bucket: &Bucket) {
    let long = "x".repeat(MAX_KEY);
    let answer = bucket.insert_batch(entries(), batch(&[(1, "a"), (2, &long)]), None).await;
    assert!(matches!(answer, Err(KeyvalueError::LimitExceeded(_))));
    let unknown = EventEntry { key: vec![Part::Field("actor".into())], value: Vec::new() };
    let answer = bucket.insert_batch(vec![unknown], batch(&[(1, "a")]), None).await;
    assert!(matches!(answer, Err(KeyvalueError::InvalidArgument(text)) if text.contains("`actor`")));
    assert!(matches!(
        bucket.insert_batch(Vec::new(), batch(&[(1, "a")]), None).await,
        Err(KeyvalueError::InvalidArgument(_))
    ));
    // As many entries as would take gigabytes.
    let many =
        vec![EventEntry { key: vec![Part::Field("event-id".into())], value: vec![Part::Field("body".into())] }; 10_000];
    let events: Vec<_> = (0..1_000).map(|id| (id, "a")).collect();
    assert!(matches!(bucket.insert_batch(many, batch(&events), None).await, Err(KeyvalueError::LimitExceeded(_))));
    assert!(bucket.keys(b"").await.is_empty());
}
