//! What a plugin can and can't do with a granted Redis server.

use std::time::Duration;

use redis::{Cmd, Connection};
use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginComponent, PluginConfig, RedisGrant};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{EventId, FlowId, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_tests::servers::RedisServer;
use reflow_tracing_tests::test_plugin;
use tokio::sync::OnceCell;

async fn component() -> PluginComponent {
    static COMPONENT: OnceCell<PluginComponent> = OnceCell::const_new();
    let compiled = COMPONENT.get_or_try_init(|| async {
        let file = test_plugin("probe-redis");
        PluginComponent::load("probe-redis", &file, &PluginConfig::default()).await
    });
    compiled.await.expect("it loads").clone()
}

struct Probe(PluginBackend);

impl Probe {
    async fn of(grant: RedisGrant, limits: Limits) -> Self {
        Self(Self::open(grant, limits).await.expect("it opens"))
    }

    async fn open(grant: RedisGrant, limits: Limits) -> Result<PluginBackend, StorageError> {
        let grants = Grants { redis: [("default".into(), grant)].into(), ..Grants::default() };
        let config = PluginConfig { grants, limits, ..PluginConfig::default() };
        PluginBackend::open("probe-redis", component().await, &config).await
    }

    async fn under(server: &RedisServer, prefix: &str) -> Self {
        Self::of(RedisGrant { prefix: prefix.into(), ..grant(server) }, limits()).await
    }

    async fn outcome(&self, line: &str) -> StorageError {
        let query = TraceQuery { flow_id: Some(FlowId::new(line)), ..TraceQuery::default() };
        self.0.query_traces(query).await.expect_err("every outcome is an error")
    }

    /// What the server answered. Panics when the plugin got an error.
    async fn answer(&self, line: &str) -> String {
        let outcome = self.outcome(line).await;
        match &outcome {
            StorageError::Plugin { reason, .. } if reason.starts_with("answered ") => {
                reason["answered ".len()..].into()
            }
            error => panic!("`{line}`: {error}"),
        }
    }

    /// The plugin's error. Panics when the server answered.
    async fn refusal(&self, line: &str) -> String {
        let text = self.outcome(line).await.to_string();
        assert!(!text.contains("answered "), "`{line}`: {text}");
        text
    }
}

fn grant(server: &RedisServer) -> RedisGrant {
    RedisGrant { url: server.url(), ..RedisGrant::default() }
}

fn limits() -> Limits {
    Limits { call_timeout_ms: 20_000, ..Limits::default() }
}

/// The server, for its operator.
fn operator(server: &RedisServer) -> Connection {
    redis::Client::open(server.url()).expect("its address").get_connection().expect("it listens")
}

fn command(line: &str) -> Cmd {
    let mut command = Cmd::new();
    line.split(' ').for_each(|word| {
        command.arg(word);
    });
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_under_the_prefix() {
    let server = RedisServer::start();
    let (one, other) = (Probe::under(&server, "one:").await, Probe::under(&server, "other:").await);
    let mut operator = operator(&server);
    command("SET outside theirs").exec(&mut operator).expect("it is stored");

    assert_eq!(one.answer("run SET k 1; MSET a 2 b 3; INCR k").await, r#"[Status("OK"), Status("OK"), Integer(2)]"#);
    assert_eq!(
        other.answer("run GET k; EXISTS outside one:k; DEL k; DEL outside").await,
        "[Nil, Integer(0), Integer(0), Integer(0)]"
    );
    let mut keys: Vec<String> = command("KEYS *").query(&mut operator).expect("it answers");
    keys.sort();
    assert_eq!(keys, ["one:a", "one:b", "one:k", "outside"]);

    // A listing shows its own keys alone, as it knows them.
    let listing = one.answer("run SCAN 0 COUNT 100").await;
    for (key, shown) in [("a", true), ("b", true), ("k", true), ("outside", false), ("one:a", false)] {
        assert_eq!(listing.contains(&format!("{:?}", key.as_bytes())), shown, "`{key}` in {listing}");
    }
    assert!(one.answer("run SCAN 0 COUNT 100 MATCH out*").await.ends_with("Array([])])]"));
    assert!(one.refusal("run DBSIZE").await.contains("`DBSIZE`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prefix_the_rules_are_the_same() {
    let server = RedisServer::start();
    let probe = Probe::under(&server, "").await;
    assert_eq!(probe.answer("run SET k 1; DBSIZE").await, r#"[Status("OK"), Integer(1)]"#);
    for forbidden in
        ["FLUSHALL", "CONFIG GET *", "EVAL return 0", "KEYS *", "BLPOP k 0", "SUBSCRIBE c", "MULTI", "COPY a b DB 1"]
    {
        let refusal = probe.refusal(&format!("run {forbidden}")).await;
        let name = forbidden.split(' ').next().expect("a name");
        assert!(refusal.contains("`probe-redis`") && refusal.contains(&format!("`{name}`")), "{refusal}");
    }
    assert_eq!(probe.answer("run GET k").await, "[Bytes([49])]", "nothing was flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_not_granted_is_refused() {
    let server = RedisServer::start();
    let refusal = Probe::under(&server, "").await.refusal("open secrets").await;
    assert!(refusal.contains("`secrets`") && refusal.contains("grants = { redis"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_command_does_not_stop_the_others() {
    let server = RedisServer::start();
    let probe = Probe::under(&server, "").await;
    probe.answer("run SADD set x").await;
    let refusal = probe.refusal("run SET a 1; INCR set; SET b 2").await;
    assert!(refusal.contains("WRONGTYPE"), "{refusal}");
    assert_eq!(probe.answer("run GET b").await, "[Bytes([50])]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_runs_only_if_its_keys_hold_the_expected_values() {
    let server = RedisServer::start();
    let probe = Probe::under(&server, "p:").await;
    assert_eq!(probe.answer("if k; SET k 1; INCR n").await, r#"Some([Status("OK"), Integer(1)])"#);
    assert_eq!(probe.answer("if k; SET k 2; INCR n").await, "None");
    assert_eq!(probe.answer("if k=9; SET k 2; INCR n").await, "None");
    assert_eq!(probe.answer("if k=1; SET k 2; INCR n").await, r#"Some([Status("OK"), Integer(2)])"#);
    // Another kind of value is not what is expected either.
    probe.answer("run SADD set x").await;
    assert_eq!(probe.answer("if set; SET k 3").await, "None");
    assert_eq!(probe.answer("if set=x; SET k 3").await, "None");
    // A transaction that can't begin is refused, and none stays open.
    assert!(probe.refusal("if k=2; SET").await.contains("wrong number of arguments"));
    assert_eq!(probe.answer("run GET k").await, "[Bytes([50])]");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_need_a_separate_grant() {
    let server = RedisServer::start();
    let script = "script k return redis.call('SET', KEYS[1], 'x')";
    let refusal = Probe::under(&server, "p:").await.refusal(script).await;
    assert!(
        refusal.contains("scripts = true") && refusal.contains("plugins.probe-redis.grants.redis.default"),
        "{refusal}"
    );

    let trusted = Probe::of(RedisGrant { scripts: true, prefix: "p:".into(), ..grant(&server) }, limits()).await;
    assert_eq!(trusted.answer(script).await, r#"Status("OK")"#);
    // By its digest, and after the server has forgotten it.
    assert_eq!(trusted.answer(script).await, r#"Status("OK")"#);
    command("SCRIPT FLUSH").exec(&mut operator(&server)).expect("it is done");
    assert_eq!(trusted.answer(script).await, r#"Status("OK")"#);
    assert_eq!(trusted.answer("run GET k").await, "[Bytes([120])]");
    assert!(trusted.refusal("script k error('as asked for')").await.contains("as asked for"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_at_the_limit() {
    let server = RedisServer::start();
    let probe = Probe::of(grant(&server), Limits { result_mb: 1, ..limits() }).await;
    let mut operator = operator(&server);
    redis::cmd("SET").arg("k").arg(vec![b'x'; 600_000]).exec(&mut operator).expect("it is stored");
    // Small parts take room too.
    redis::cmd("RPUSH").arg("many").arg(vec!["x"; 50_000]).exec(&mut operator).expect("it is stored");
    for bomb in [
        "run LRANGE many 0 -1",
        "run MGET k k k k k k k k",
        "run GET k; GET k",
        "if no; GET k; GET k",
        "events MGET k k",
    ] {
        let refusal = probe.refusal(bomb).await;
        assert!(refusal.contains("limits.result_mb"), "`{bomb}`: {refusal}");
        assert_eq!(probe.answer("run STRLEN k").await, "[Integer(600000)]", "the next call is answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_bypass_the_plugin() {
    let server = RedisServer::start();
    let probe = Probe::under(&server, "p:").await;
    let event = |number: u128| TraceEvent {
        event_id: EventId(uuid::Uuid::from_u128(number)),
        actor_id: format!("actor {number}"),
        ..TraceEvent::default()
    };
    let events: Vec<_> = (0..5_000).map(event).collect();
    let trace_id = TraceId::new();
    let batch = events.iter().map(|event| (trace_id, event.clone())).collect();
    probe.0.store_events(batch).await.expect("they are stored");
    assert!(probe.0.get_events(trace_id).await.expect("they are read") == events);
    let id: String = redis::cmd("GET").arg("p:actor:actor 4999").query(&mut operator(&server)).expect("it answers");
    assert_eq!(id, events[4_999].event_id.to_string());

    assert_eq!(probe.answer("events LRANGE bodies 0 9").await, "10");
    probe.answer("run SET k no-body").await;
    assert!(probe.refusal("events GET k").await.contains("body"));
    // The first refusal ends a batch.
    probe.answer("run DEL bodies; SET bodies x").await;
    let error = probe.0.store_events(vec![(trace_id, event(1))]).await.expect_err("it is not a list");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_connected_to_again() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let probe = Probe::under(&server, "").await;
    assert_eq!(probe.answer("run INCR k").await, "[Integer(1)]");
    server.kill();
    let error = probe.outcome("run INCR k").await;
    assert!(matches!(error, StorageError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    server.start_again();
    assert_eq!(probe.answer("run INCR k").await, "[Integer(2)]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_to_an_abandoned_call_reach_no_other_call() {
    let server = RedisServer::start_with(&["--enable-debug-command", "yes"]);
    let short = Limits { call_timeout_ms: 300, instances: 1, ..limits() };
    let probe = Probe::of(grant(&server), short).await;
    probe.answer("run SET mine 1; SET theirs 2").await;
    // The server answers no one meanwhile.
    let mut operator = operator(&server);
    let asleep = std::thread::spawn(move || command("DEBUG SLEEP 1").exec(&mut operator));
    let error = loop {
        let outcome = probe.outcome("run GET mine").await;
        if !outcome.to_string().contains("answered") {
            break outcome;
        }
    };
    assert!(error.to_string().contains("longer than 300 ms"), "{error}");
    asleep.join().expect("a thread of ours").expect("it slept");
    assert_eq!(probe.answer("run GET theirs").await, "[Bytes([50])]");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_shows_a_password() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let with = |url: String| RedisGrant { url, ..RedisGrant::default() };
    let socket = server.url();
    let wrong = Probe::of(with(format!("{socket}?pass=s3cret")), limits()).await.refusal("run GET k").await;
    assert!(wrong.contains("plugins.probe-redis.grants.redis.default"), "{wrong}");
    let none = Probe::of(with(socket.clone()), limits()).await.refusal("run GET k").await;
    assert!(none.contains("NOAUTH"), "{none}");
    assert_eq!(Probe::of(with(format!("{socket}?pass=right")), limits()).await.answer("run GET k").await, "[Nil]");

    let dead = Probe::of(with("redis://:s3cret@127.0.0.1:1/0".into()), limits()).await.outcome("run GET k").await;
    assert!(dead.is_retryable(), "{dead:?}");
    let Err(unreadable) = Probe::open(with("http://:s3cret@h".into()), limits()).await else { panic!("it opens") };
    assert!(matches!(unreadable, StorageError::Configuration(_)), "{unreadable:?}");
    for said in [wrong, dead.to_string(), unreadable.to_string()] {
        assert!(said.contains("plugins.probe-redis.grants.redis.default") && !said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_reused() {
    let server = RedisServer::start();
    let probe = Probe::of(grant(&server), Limits { connections: 2, instances: 8, ..limits() }).await;
    for _ in 0..5 {
        futures::future::join_all((0..8).map(|_| probe.answer("run PING"))).await;
    }
    let clients: String = command("CLIENT LIST").query(&mut operator(&server)).expect("it answers");
    // The operator is one too.
    assert!((2..=3).contains(&clients.lines().count()), "{clients}");
    tokio::time::timeout(Duration::from_secs(10), probe.answer("run PING")).await.expect("a connection is free");
}
