//! The plugin `redis` on a real server.

use std::fs;
use std::time::Duration;

use futures::future::join_all;
use redis::Connection;
use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginComponent, PluginConfig, RedisGrant};
use reflow_tracing::storage::conformance::{self, Subject};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{
    EventId, ExecutionStatus, FlowId, FlowTrace, FlowVersion, SortOrder, TraceEvent, TraceEventKind, TraceEventType,
    TraceId, TraceQuery,
};
use reflow_tracing_tests::servers::RedisServer;
use reflow_tracing_tests::{Backend, Host, Setting, fixture, plugin};
use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

async fn component() -> Result<PluginComponent, StorageError> {
    static COMPONENT: OnceCell<PluginComponent> = OnceCell::const_new();
    let compiled = COMPONENT
        .get_or_try_init(|| async { PluginComponent::load("redis", &plugin("redis"), &PluginConfig::default()).await });
    compiled.await.cloned()
}

async fn open(url: String, prefix: &str, settings: serde_json::Value) -> Result<PluginBackend, StorageError> {
    let grant = RedisGrant { url, prefix: prefix.into(), ..RedisGrant::default() };
    let serde_json::Value::Object(settings) = settings else { panic!("settings are a table") };
    let config = PluginConfig {
        grants: Grants { redis: [("default".into(), grant)].into(), ..Grants::default() },
        config: settings,
        // Generous: a busy machine must not fail the test.
        limits: Limits { call_timeout_ms: 60_000, ..Limits::default() },
        ..PluginConfig::default()
    };
    PluginBackend::open("redis", component().await?, &config).await
}

fn operator(server: &RedisServer) -> Connection {
    redis::Client::open(server.url()).expect("its address").get_connection().expect("it listens")
}

fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut operator(server)).expect("it answers");
    keys.sort();
    keys
}

/// A fresh store on an emptied server.
async fn empty(server: &RedisServer, prefix: &str, settings: serde_json::Value) -> Result<Subject, StorageError> {
    redis::cmd("FLUSHALL").exec(&mut operator(server))?;
    Ok(Subject::new(open(server.url(), prefix, settings).await?))
}

fn trace(flow: &str, events: usize) -> FlowTrace {
    let mut trace = FlowTrace::new(FlowId::new(flow), FlowVersion::default());
    trace.metadata.tags.insert("team".into(), flow.into());
    trace.events = (0..events)
        .map(|number| TraceEvent {
            event_id: EventId(Uuid::from_u128(number as u128)),
            actor_id: format!("{flow} actor {number}"),
            ..TraceEvent::default()
        })
        .collect();
    trace
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_plugin_keeps_the_contract() {
    let server = RedisServer::start();
    conformance::run(|| empty(&server, "", json!({}))).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_plugin_keeps_the_contract_under_a_prefix_and_with_a_lifetime() {
    let server = RedisServer::start();
    conformance::run(|| empty(&server, "traces*of[us]:", json!({"ttl_seconds": 3600}))).await.assert_passed();
}

#[test]
fn the_redis_plugin_answers_like_the_oracle() {
    let server = RedisServer::start();
    conformance::check_generated(48, || empty(&server, "", json!({}))).unwrap();
    conformance::check_generated(48, || empty(&server, "p:", json!({"ttl_seconds": 3600}))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_removes_every_key() {
    let server = RedisServer::start();
    let storage = open(server.url(), "p:", json!({})).await.expect("it opens");
    let (kept, gone) = (trace("kept", 3), trace("gone", 3));
    storage.store_trace(kept.clone()).await.expect("stored");
    let before = keys(&server);
    storage.store_trace(gone.clone()).await.expect("stored");
    assert!(keys(&server).iter().all(|key| key.starts_with("p:")));
    // A replaced trace leaves nothing in its old indexes.
    storage.store_trace(FlowTrace { flow_id: FlowId::new("moved"), ..gone.clone() }).await.expect("stored");
    assert!(!keys(&server).iter().any(|key| key.contains("by:flow:gone")), "{:?}", keys(&server));
    assert!(storage.delete_trace(gone.trace_id).await.expect("deleted"));
    assert_eq!(keys(&server), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_expire_with_all_their_keys() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({"ttl_seconds": 1})).await.expect("it opens");
    let (header, orphan) = (trace("short", 5), TraceId::new());
    storage.store_trace(header.clone()).await.expect("stored");
    storage.store_event(orphan, TraceEvent::default()).await.expect("stored");
    let ids = [header.trace_id, orphan];
    // Every key of a trace must expire.
    let mut operator = operator(&server);
    for key in
        keys(&server).iter().filter(|key| ["trace:", "events:", "bodies:"].iter().any(|kind| key.starts_with(kind)))
    {
        let ttl: i64 = redis::cmd("PTTL").arg(key).query(&mut operator).expect("it answers");
        assert!((-2..=1_000).contains(&ttl) && ttl != -1, "{key}: {ttl} ms");
    }
    until(|| async {
        let mut left = 0;
        for id in ids {
            left += storage.get_events(id).await.expect("it answers").len();
        }
        left == 0 && storage.get_trace(header.trace_id).await.expect("it answers").is_none()
    })
    .await;
    assert!(storage.query_traces(TraceQuery::default()).await.expect("it answers").is_empty());
    let stats = storage.stats().await.expect("it answers");
    assert_eq!((stats.traces, stats.events, stats.oldest, stats.newest), (0, 0, None, None));
    assert!(!storage.delete_trace(orphan).await.expect("it answers"), "there was nothing any more");

    // The next write cleans the indexes: only its own entries remain.
    let fresh = trace("fresh", 1);
    storage.store_trace(fresh.clone()).await.expect("stored");
    let expired = header.trace_id.to_string();
    let left = keys(&server);
    assert!(!left.iter().any(|key| key.contains(&expired) || key.contains("short")), "{left:?}");
    let noted: u64 = redis::cmd("ZCARD").arg("traces").query(&mut operator).expect("it answers");
    assert_eq!(noted, 1);
    let actors: Vec<String> = redis::cmd("SMEMBERS").arg("actors").query(&mut operator).expect("it answers");
    assert_eq!(actors, ["fresh actor 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_trace_that_is_written_again_is_a_new_trace() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({"ttl_seconds": 1000})).await.expect("it opens");
    let gone = trace("gone", 2);
    storage.store_trace(gone.clone()).await.expect("stored");
    // As if the keys had expired, with no write since.
    let mut operator = operator(&server);
    for kind in ["trace", "events", "bodies"] {
        redis::cmd("DEL").arg(format!("{kind}:{}", gone.trace_id)).exec(&mut operator).expect("it is done");
    }
    redis::cmd("ZADD").arg("traces").arg(1).arg(gone.trace_id.as_uuid().as_bytes()).exec(&mut operator).expect("done");
    let new = FlowTrace { trace_id: gone.trace_id, ..trace("new", 1) };
    storage.store_trace(new.clone()).await.expect("stored");
    for (part, found) in [("gone actor", vec![]), ("new actor", vec![new])] {
        let query = TraceQuery { actor_filter: Some(part.into()), ..TraceQuery::default() };
        assert!(storage.query_traces(query).await.expect("it answers") == found, "{part}");
    }
    assert!(!keys(&server).iter().any(|key| key.contains("gone")), "{:?}", keys(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_dead_writer_left_without_an_expiry_get_one() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({"ttl_seconds": 100})).await.expect("it opens");
    let (left, expired) = (trace("left", 2), trace("expired", 2));
    storage.store_traces(vec![left.clone(), expired.clone()]).await.expect("stored");
    // As if a writer had died before it set the expiry, and the time had passed.
    let mut operator = operator(&server);
    for key in keys(&server).iter().filter(|key| key.contains(&left.trace_id.to_string())) {
        redis::cmd("PERSIST").arg(key).exec(&mut operator).expect("it is done");
    }
    for kind in ["trace", "events", "bodies"] {
        redis::cmd("DEL").arg(format!("{kind}:{}", expired.trace_id)).exec(&mut operator).expect("it is done");
    }
    for id in [left.trace_id, expired.trace_id] {
        redis::cmd("ZADD").arg("traces").arg(1).arg(id.as_uuid().as_bytes()).exec(&mut operator).expect("it is done");
    }
    storage.store_trace(trace("next", 0)).await.expect("stored");
    assert!(storage.get_trace(left.trace_id).await.expect("it answers") == Some(left.clone()));
    for kind in ["trace", "events", "bodies"] {
        let ttl: i64 =
            redis::cmd("TTL").arg(format!("{kind}:{}", left.trace_id)).query(&mut operator).expect("it answers");
        assert!((90..=100).contains(&ttl), "{kind}: {ttl} s");
    }
    assert!(!keys(&server).iter().any(|key| key.contains("expired")), "{:?}", keys(&server));
    assert_eq!(storage.stats().await.expect("it answers").traces, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_extends_the_life_of_the_whole_trace() {
    let server = RedisServer::start();
    let short = open(server.url(), "", json!({"ttl_seconds": 2})).await.expect("it opens");
    let long = open(server.url(), "", json!({"ttl_seconds": 1000})).await.expect("it opens");
    let forever = open(server.url(), "", json!({})).await.expect("it opens");
    let mut operator = operator(&server);
    let mut lives = |least: i64, most: i64| {
        for key in
            keys(&server).iter().filter(|key| ["trace:", "events:", "bodies:"].iter().any(|kind| key.starts_with(kind)))
        {
            let ttl: i64 = redis::cmd("TTL").arg(key).query(&mut operator).expect("it answers");
            assert!((least..=most).contains(&ttl), "{key}: {ttl} s");
        }
    };
    let stored = trace("f", 3);
    short.store_trace(stored.clone()).await.expect("stored");
    long.store_event(stored.trace_id, TraceEvent { event_id: EventId(Uuid::from_u128(77)), ..TraceEvent::default() })
        .await
        .expect("stored");
    lives(900, 1_000);
    long.store_trace(FlowTrace { events: Vec::new(), ..stored.clone() }).await.expect("stored");
    lives(900, 1_000);
    forever
        .store_event(stored.trace_id, TraceEvent { event_id: EventId(Uuid::from_u128(78)), ..TraceEvent::default() })
        .await
        .expect("stored");
    lives(-1, -1);
    assert_eq!(keys(&server).iter().filter(|key| key.contains(&stored.trace_id.to_string())).count(), 5);
}

/// The keys that a server has looked up for commands that read.
fn looked_up(server: &RedisServer) -> u64 {
    let stats: String = redis::cmd("INFO").arg("stats").query(&mut operator(server)).expect("it answers");
    let figure = |name: &str| stats.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    figure("keyspace_hits:").expect("it counts") + figure("keyspace_misses:").expect("it counts")
}

/// A store with a few traces among this many others, which began before and after; `failing`: whether something went wrong in
/// the others, or in the few.
async fn few_among(server: &RedisServer, others: u32, failing: bool) -> (PluginBackend, Vec<FlowTrace>) {
    redis::cmd("FLUSHALL").exec(&mut operator(server)).expect("it is done");
    let storage = open(server.url(), "", json!({})).await.expect("it opens");
    let begin = trace("f", 0).start_time;
    let one = |number: u32, rare: bool| {
        let mut trace = trace(if rare { "rare" } else { "common" }, 1);
        trace.start_time = begin + Duration::from_secs(number.into());
        let took = if rare { Duration::from_secs(90) } else { Duration::from_millis(500) };
        trace.end_time = Some(trace.start_time + took);
        trace.status = match rare {
            true if failing => ExecutionStatus::Running,
            true => ExecutionStatus::Failed { error: "disk full".into() },
            false if failing => ExecutionStatus::Failed { error: "no route".into() },
            false => ExecutionStatus::Completed,
        };
        trace.events[0].event_type = if rare { TraceEventType::NetworkEvent } else { TraceEventType::ActorStarted };
        trace
    };
    let traces: Vec<_> = (0..others).map(|number| one(number, number % (others / 5) == others / 10)).collect();
    storage.store_traces(traces.clone()).await.expect("stored");
    let mut few: Vec<_> = traces.into_iter().filter(|trace| trace.flow_id == FlowId::new("rare")).collect();
    few.sort_by_key(|trace| std::cmp::Reverse(trace.start_time));
    assert_eq!(few.len(), 5);
    (storage, few)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_a_query_reads_do_not_grow_with_the_store() {
    let server = RedisServer::start();
    let queries = |few: &[FlowTrace], failing: bool| {
        let all = TraceQuery::default;
        let middle = few[2].start_time;
        vec![
            ("flow", TraceQuery { flow_id: Some(FlowId::new("rare")), ..all() }),
            ("execution", TraceQuery { execution_id: Some(few[1].execution_id), ..all() }),
            ("time", TraceQuery { time_range: Some((middle, middle)), ..all() }),
            ("status", TraceQuery { status: Some(few[0].status.clone()), ..all() }),
            ("actor", TraceQuery { actor_filter: Some("are act".into()), ..all() }),
            ("kind", TraceQuery { event_types: Some([TraceEventKind::NetworkEvent].into()), ..all() }),
            ("tag", TraceQuery { tags: [("team".into(), "rare".into())].into(), ..all() }),
            ("shortest", TraceQuery { min_duration: Some(Duration::from_secs(10)), ..all() }),
            (
                "longest",
                TraceQuery {
                    min_duration: Some(Duration::from_secs(80)),
                    max_duration: Some(Duration::from_secs(100)),
                    ..all()
                },
            ),
            ("health", TraceQuery { has_error: Some(!failing), ..all() }),
        ]
    };
    for failing in [true, false] {
        let mut read = Vec::new();
        for others in [300, 1_500] {
            let (storage, few) = few_among(&server, others, failing).await;
            let mut keys = Vec::new();
            for (predicate, query) in queries(&few, failing) {
                for order in [SortOrder::NewestFirst, SortOrder::OldestFirst] {
                    let before = looked_up(&server);
                    let found = storage.query_traces(TraceQuery { order, ..query.clone() }).await.expect("it answers");
                    keys.push((predicate, looked_up(&server) - before));
                    let expected = match predicate {
                        "execution" => 1..2,
                        "time" => 2..3,
                        _ => 0..5,
                    };
                    let mut expected = few[expected].to_vec();
                    if order == SortOrder::OldestFirst {
                        expected.reverse();
                    }
                    assert!(found == expected, "{predicate}, {order:?}: {} found", found.len());
                }
            }
            read.push(keys);
        }
        assert_eq!(read[0], read[1], "among 300, and among 1,500");
        assert!(read[1].iter().all(|(_, keys)| *keys < 300), "{:?}", read[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_by_actor_in_any_order_of_writes() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({})).await.expect("it opens");
    let whole = trace("f[*]", 3);
    let header = FlowTrace { events: Vec::new(), ..whole.clone() };
    let found = async |part: &str| {
        let query = TraceQuery { actor_filter: Some(part.into()), ..TraceQuery::default() };
        storage.query_traces(query).await.expect("it answers").len()
    };
    // Events before the header, the header, events after it, and the header with another start.
    let event = |number: usize| whole.events[number].clone();
    storage.store_event(whole.trace_id, event(0)).await.expect("stored");
    assert_eq!(found("actor 0").await, 0, "it is not a trace yet");
    storage.store_trace(header.clone()).await.expect("stored");
    storage.store_event(whole.trace_id, event(1)).await.expect("stored");
    assert_eq!((found("f[*] actor 0").await, found("[*] actor 1").await, found("actor 2").await), (1, 1, 0));
    let start_time = header.start_time + Duration::from_secs(60);
    storage.store_trace(FlowTrace { start_time, ..header.clone() }).await.expect("stored");
    storage.store_event(whole.trace_id, event(2)).await.expect("stored");
    for part in ["actor 0", "actor 1", "actor 2", "f[*]", ""] {
        assert_eq!(found(part).await, 1, "{part}");
    }
    for part in ["Actor 0", "f* actor", "actor ?", "actor 3"] {
        assert_eq!(found(part).await, 0, "{part}");
    }
    let mut operator = operator(&server);
    for key in keys(&server).iter().filter(|key| key.starts_with("by:actor:") || key.starts_with("by:kind:")) {
        let places: u64 = redis::cmd("ZCARD").arg(key).query(&mut operator).expect("it answers");
        assert_eq!(places, 1, "{key}: what it moved from is not left behind");
    }
    assert!(storage.delete_trace(whole.trace_id).await.expect("deleted"));
    assert_eq!(keys(&server), ["layout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrently_written_events_and_headers_are_found_by_actor() {
    let server = RedisServer::start();
    let stores = [
        open(server.url(), "", json!({})).await.expect("it opens"),
        open(server.url(), "", json!({})).await.expect("it opens"),
    ];
    let traces: Vec<_> = (0..20).map(|_| trace("f", 8)).collect();
    let headers = async {
        for round in 0..8 {
            let later = |trace: &FlowTrace| FlowTrace {
                start_time: trace.start_time + Duration::from_secs(round),
                events: Vec::new(),
                ..trace.clone()
            };
            stores[0].store_traces(traces.iter().map(later).collect()).await.expect("stored");
        }
    };
    let events = async {
        for number in 0..8 {
            let of_each = traces.iter().map(|trace| (trace.trace_id, trace.events[number].clone()));
            stores[1].store_events(of_each.collect()).await.expect("stored");
        }
    };
    tokio::join!(headers, events);
    for number in 0..8 {
        let query = TraceQuery { actor_filter: Some(format!("actor {number}")), ..TraceQuery::default() };
        assert_eq!(stores[0].query_traces(query).await.expect("it answers").len(), traces.len(), "actor {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_an_earlier_layout_is_refused_with_a_remedy() {
    let server = RedisServer::start();
    let mut operator = operator(&server);
    // What every earlier version wrote.
    redis::cmd("ZADD").arg("traces").arg("+inf").arg("0123456789abcdef").exec(&mut operator).expect("it is done");
    let before = keys(&server);
    let Err(error) = open(server.url(), "", json!({})).await else { panic!("it opens") };
    let message = error.to_string();
    assert!(message.contains("layout 1") && message.contains("another database or prefix"), "{message}");
    assert_eq!(keys(&server), before, "it is not changed");
    open(server.url(), "new:", json!({})).await.expect("another prefix is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let storage = open(server.url(), "", json!({})).await.expect("it opens");
    let stored: Vec<_> = (0..20).map(|number| trace(&format!("flow {number}"), 10)).collect();
    storage.store_traces(stored.clone()).await.expect("acknowledged");
    server.kill();
    let error = storage.health_check().await.expect_err("the server is down");
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    server.start_again();
    for trace in stored {
        assert!(storage.get_trace(trace.trace_id).await.expect("it answers") == Some(trace));
    }
    assert_eq!(storage.stats().await.expect("it answers").events, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_write_the_same_traces_keep_the_indexes_consistent() {
    let server = RedisServer::start();
    let stores = [
        open(server.url(), "", json!({})).await.expect("it opens"),
        open(server.url(), "", json!({})).await.expect("it opens"),
    ];
    let traces: Vec<_> = (0..10).map(|_| trace("f", 0)).collect();
    let write = async |writer: usize| {
        for round in 0..20 {
            let versions = traces.iter().map(|trace| FlowTrace {
                flow_id: FlowId::new(format!("flow {writer} {}", round % 3)),
                start_time: trace.start_time + Duration::from_secs(round * 2 + writer as u64),
                events: vec![TraceEvent {
                    event_id: EventId(Uuid::from_u128(u128::from(round))),
                    ..TraceEvent::default()
                }],
                ..trace.clone()
            });
            stores[writer].store_traces(versions.collect()).await.expect("stored");
        }
    };
    join_all([write(0), write(1)]).await;
    let mut operator = operator(&server);
    for trace in &traces {
        let found = stores[0].get_trace(trace.trace_id).await.expect("it answers").expect("it is there");
        assert_eq!(found.events.len(), 20);
        let of_flow = TraceQuery { flow_id: Some(found.flow_id.clone()), ..TraceQuery::default() };
        let found_by_flow = stores[1].query_traces(of_flow).await.expect("it answers");
        assert!(found_by_flow.contains(&found));
    }
    // Each trace is in an index once.
    let mut in_flows = 0;
    for key in keys(&server).iter().filter(|key| key.starts_with("by:flow:")) {
        in_flows += redis::cmd("ZCARD").arg(key).query::<usize>(&mut operator).expect("it answers");
    }
    let in_all: usize = redis::cmd("ZCARD").arg("by:start").query(&mut operator).expect("it answers");
    assert_eq!((in_flows, in_all), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reports_problems_of_writes() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({})).await.expect("it opens");
    storage.health_check().await.expect("it is well");
    assert!(keys(&server).is_empty(), "it changes nothing");

    let mut operator = operator(&server);
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut operator).expect("it is set");
    let full = storage.health_check().await.expect_err("the memory is full");
    assert!(matches!(full, StorageError::Exhausted(_)), "{full:?}");
    let full = storage.store_trace(trace("f", 1)).await.expect_err("the memory is full");
    assert!(matches!(full, StorageError::Exhausted(_)), "{full:?}");
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0).exec(&mut operator).expect("it is set");
    storage.health_check().await.expect("it is well again");

    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut operator).expect("it is set");
    let replica = storage.health_check().await.expect_err("it can't be written");
    assert!(matches!(replica, StorageError::Unavailable(_)) && replica.to_string().contains("READONLY"), "{replica:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_unknown_is_named_with_the_known_ones() {
    let server = RedisServer::start();
    let Err(error) = open(server.url(), "", json!({"ttl": 60})).await else { panic!("it opens") };
    let message = error.to_string();
    assert!(message.contains("`ttl`") && message.contains("`ttl_seconds`"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_continue_among_thousands_of_traces_with_the_same_start() {
    let server = RedisServer::start();
    let storage = open(server.url(), "", json!({})).await.expect("it opens");
    let start_time = trace("f", 0).start_time;
    let traces = (0..3_000_u32).map(|number| FlowTrace {
        start_time: if number < 2_500 { start_time } else { start_time + Duration::from_secs(number.into()) },
        status: if number.is_multiple_of(100) { ExecutionStatus::Completed } else { ExecutionStatus::Running },
        end_time: number.is_multiple_of(50).then(|| start_time + Duration::from_secs(10_000)),
        ..trace("f", 0)
    });
    let mut traces: Vec<_> = traces.collect();
    storage.store_traces(traces.clone()).await.expect("stored");
    for order in [SortOrder::NewestFirst, SortOrder::OldestFirst] {
        traces.sort_by_key(|trace| trace.trace_id);
        traces.sort_by(|a, b| match order {
            SortOrder::NewestFirst => b.start_time.cmp(&a.start_time),
            SortOrder::OldestFirst => a.start_time.cmp(&b.start_time),
        });
        // One predicate with an index, one without.
        let wanted = traces.iter().filter(|trace| trace.end_time.is_some());
        let wanted: Vec<_> = wanted.map(|trace| trace.trace_id).collect();
        let mut query =
            TraceQuery { min_duration: Some(Duration::ZERO), limit: Some(7), order, ..TraceQuery::default() };
        let mut found = Vec::new();
        loop {
            let page = storage.query_page(query.clone().into()).await.expect("it answers");
            found.extend(page.traces.iter().map(|trace| trace.trace_id));
            let Some(token) = page.next_page_token else { break };
            query.page_token = Some(token);
        }
        assert!(found == wanted, "{order:?}: {} of {}", found.len(), wanted.len());
    }
}

/// The configuration in the documentation, with the test's own server.
fn story(url: &str) -> String {
    let text = r#"
[storage]
backend = "redis"                 # a built-in name, or a plugin's
[plugins]
dir = "plugins"
[plugins.redis]                   # file defaults to plugins/redis.wasm
grants = { redis = { default = "redis://127.0.0.1:6379/0" } }
config = { ttl_seconds = 3600 }
limits = { memory_mb = 64, call_timeout_ms = 5000, instances = 4 }
"#;
    format!("[server]\nport = 0\n{}", text.replace("redis://127.0.0.1:6379/0", url))
}

#[test]
fn a_host_keeps_a_session_in_redis() {
    let server = RedisServer::start_on_port(&["--appendonly", "yes"]);
    let setting = Setting::new(Backend::Sqlite);
    fs::copy(plugin("redis"), setting.path().join("plugins/redis.wasm")).expect("a copy of the plugin");
    setting.write(&story(&server.tcp_url()));
    let host = Host::start(&setting);
    let session = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", session.to_str().expect("a path of ours"), "--url", &host.url]);
    host.stop();

    let traces = setting.traces();
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0].events.len(), 16);
    assert!(setting.stdout(&["query", "--flow", traces[0].flow_id.as_str()]).contains(&traces[0].trace_id.to_string()));
    let ttl: i64 = redis::cmd("TTL")
        .arg(format!("trace:{}", traces[0].trace_id))
        .query(&mut operator(&server))
        .expect("it answers");
    assert!((3_000..=3_600).contains(&ttl), "{ttl} s");
}

#[test]
fn a_host_without_its_server_names_the_grant() {
    let setting = Setting::new(Backend::Sqlite);
    fs::copy(plugin("redis"), setting.path().join("plugins/redis.wasm")).expect("a copy of the plugin");
    setting.write(&story("redis://:s3cret@127.0.0.1:1/0"));
    let said = setting.failure(&["serve"]);
    assert!(said.contains("plugins.redis.grants.redis.default") && !said.contains("s3cret"), "{said}");
}

/// Waits until the condition holds.
async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("in time");
}
