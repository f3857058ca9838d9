//! Partitions by time.

use std::thread::ScopedJoinHandle;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use reflow_tracing::storage::{
    PartitionInterval, PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt, StorageError,
};
use reflow_tracing::{FlowTrace, TraceEvent, TraceId};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{config, event, query, quoted, trace};
use crate::servers::Postgres;

fn partitioned(server: &Postgres, partition_interval: PartitionInterval) -> PostgresConfig {
    PostgresConfig { enable_partitioning: true, partition_interval, ..config(server) }
}

/// The bounds of the partition that holds `time`.
fn bounds(server: &Postgres, config: &PostgresConfig, time: DateTime<Utc>) -> [DateTime<Utc>; 2] {
    let table = query(
        server,
        config,
        &format!(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = \
             (SELECT tableoid FROM event WHERE occurred_at = {} LIMIT 1)",
            time.timestamp_nanos_opt().unwrap()
        ),
    );
    let numbers: Vec<i64> = table.split('\'').filter_map(|part| part.parse().ok()).collect();
    [numbers[0], numbers[1]].map(DateTime::from_timestamp_nanos)
}

fn partitions(server: &Postgres, config: &PostgresConfig) -> usize {
    let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'event'::regclass";
    query(server, config, count).parse().unwrap()
}

#[tokio::test]
async fn each_interval_has_its_bounds() {
    let server = Postgres::shared();
    let time: DateTime<Utc> = "2024-02-29T13:45:10.123456789Z".parse().unwrap();
    for (interval, from, to) in [
        (PartitionInterval::Hourly, "2024-02-29T13:00:00Z", "2024-02-29T14:00:00Z"),
        (PartitionInterval::Daily, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        (PartitionInterval::Weekly, "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"),
        (PartitionInterval::Monthly, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ] {
        let config = partitioned(&server, interval);
        let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
        let stored = trace(time);
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
        assert_eq!(
            bounds(&server, &config, time),
            [from, to].map(|bound| bound.parse::<DateTime<Utc>>().unwrap()),
            "{interval:?}"
        );
        storage.close().await.unwrap();
    }
}

#[tokio::test]
async fn past_future_and_extreme_times_have_partitions() {
    let server = Postgres::shared();
    let storage = PostgresStorage::with_config(partitioned(&server, PartitionInterval::Monthly)).await.unwrap();
    for nanoseconds in [i64::MIN, -1, 0, 4_000_000_000_000_000_000, i64::MAX] {
        let stored = trace(DateTime::from_timestamp_nanos(nanoseconds));
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    }
}

#[tokio::test]
async fn times_far_from_now_make_no_partitions_without_end() {
    let server = Postgres::shared();
    let config = partitioned(&server, PartitionInterval::Daily);
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    // As many as the host makes, quickly.
    query(
        &server,
        &config,
        "DO $$ BEGIN FOR day IN 1..500 LOOP EXECUTE format( \
         'CREATE TABLE old_%s PARTITION OF event FOR VALUES FROM (%s) TO (%s)', \
         day, day * 86400000000000, (day + 1) * 86400000000000); END LOOP; END $$",
    );
    let before = partitions(&server, &config);
    let days = |days| Utc::now() + TimeDelta::days(days);
    let far: Vec<_> = [-9_000, 9_000, -700, 3].map(|count| trace(days(count))).into();
    for stored in &far {
        storage.store_trace(stored.clone()).await.unwrap();
    }
    // Without headers, too.
    let of_event: Vec<_> = (0..3).map(|number| (TraceId::new(), event(days(-5_000 + number)))).collect();
    storage.store_events(of_event.clone()).await.unwrap();
    let after = partitions(&server, &config);
    // Those of today and of tomorrow.
    assert!(after <= before + 2, "{before} partitions, then {after}");
    for stored in far {
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    }
    for (trace_id, event) in of_event {
        assert_eq!(storage.get_events(trace_id).await.unwrap(), [event]);
    }
    // Close to now, there is always one.
    let near = trace(days(-1));
    storage.store_trace(near.clone()).await.unwrap();
    assert_eq!(partitions(&server, &config), after + 1);
    assert_eq!(storage.get_trace(near.trace_id).await.unwrap(), Some(near));
}

#[tokio::test]
async fn the_events_of_a_trace_are_in_one_partition_regardless_of_their_times() {
    let server = Postgres::shared();
    let config = partitioned(&server, PartitionInterval::Hourly);
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events: Vec<TraceEvent> = (0..100).map(|day| event(start + TimeDelta::days(day))).collect();
    let stored = FlowTrace { events, ..trace(start) };
    for event in stored.events.iter().cloned() {
        storage.store_event(stored.trace_id, event).await.unwrap();
    }
    storage.store_trace(FlowTrace { events: Vec::new(), ..stored.clone() }).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
    assert_eq!(query(&server, &config, "SELECT count(DISTINCT tableoid) FROM event"), "1");
}

#[tokio::test]
async fn another_interval_keeps_the_existing_partitions() {
    let server = Postgres::shared();
    let config = partitioned(&server, PartitionInterval::Monthly);
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    storage.store_trace(trace(at("2020-02-15T00:00:00Z"))).await.unwrap();
    storage.close().await.unwrap();

    let weekly = PostgresConfig { partition_interval: PartitionInterval::Weekly, ..config.clone() };
    let storage = PostgresStorage::with_config(weekly).await.unwrap();
    let border = at("2020-03-01T12:00:00Z");
    storage.store_trace(trace(border)).await.unwrap();
    storage.store_trace(trace(at("2020-02-28T12:00:00Z"))).await.unwrap();
    // The week began on Monday the 24th, in the month that has its partition.
    let expected = ["2020-03-01T00:00:00Z", "2020-03-02T00:00:00Z"].map(at);
    assert_eq!(bounds(&server, &config, border), expected);
}

#[tokio::test]
async fn retention_drops_only_expired_partitions() {
    let server = Postgres::shared();
    let config = PostgresConfig { partition_retention_days: 30, ..partitioned(&server, PartitionInterval::Daily) };
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    let now = Utc::now();
    let [old, kept, new] = [40, 29, 0].map(|days| trace(now - TimeDelta::days(days)));
    storage.store_traces(vec![old.clone(), kept.clone(), new.clone()]).await.unwrap();
    // The first turn of the maintenance may have been as quick.
    storage.drop_expired_partitions().await.unwrap();
    assert_eq!(storage.get_trace(old.trace_id).await.unwrap(), None);
    assert_eq!(storage.get_events(old.trace_id).await.unwrap(), []);
    for trace in [kept, new] {
        assert_eq!(storage.get_trace(trace.trace_id).await.unwrap(), Some(trace));
    }
    let before = partitions(&server, &config);
    assert_eq!(storage.drop_expired_partitions().await.unwrap(), 0);
    assert_eq!(partitions(&server, &config), before);
    assert_eq!(
        query(
            &server,
            &config,
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'event\\_2%' AND relkind = 'r' AND NOT relispartition AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'event'::regclass)"
        ),
        "0"
    );

    // What comes for it afterwards is stored, and expires again.
    storage.store_event(old.trace_id, old.events[0].clone()).await.unwrap();
    assert_eq!(storage.get_events(old.trace_id).await.unwrap(), old.events);
    storage.drop_expired_partitions().await.unwrap();
    assert_eq!(storage.get_events(old.trace_id).await.unwrap(), []);
    assert_eq!(partitions(&server, &config), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_continue_while_partitions_are_created_and_dropped() {
    let server = Postgres::shared();
    let config = PostgresConfig { partition_retention_days: 1, ..partitioned(&server, PartitionInterval::Hourly) };
    let storage = PostgresStorage::with_config(config).await.unwrap();
    let now = Utc::now();
    let writer = async |number: i64| {
        for hour in 0..10 {
            // Each into partitions of its own, old and new.
            let late = trace(now - TimeDelta::hours(100 + 10 * number + hour));
            storage.store_trace(late).await.unwrap();
            let soon = trace(now + TimeDelta::hours(10 * number + hour));
            storage.store_trace(soon.clone()).await.unwrap();
            assert_eq!(storage.get_trace(soon.trace_id).await.unwrap(), Some(soon));
        }
    };
    let dropper = async {
        for _ in 0..5 {
            storage.drop_expired_partitions().await.unwrap();
        }
    };
    tokio::join!(join_all((0..4).map(writer)), dropper);
    storage.drop_expired_partitions().await.unwrap();
    assert_eq!(storage.stats().await.unwrap().events, 40);
}

/// A session could miss a partition that is attached while the session builds its list of partitions.
#[tokio::test(flavor = "multi_thread")]
async fn events_in_a_new_partition_are_visible_immediately() {
    const PARTITIONS: u128 = 600;
    const PROGRAMS: u128 = 3;
    let server = Postgres::shared();
    // They share the session in turns, and what one of them leaves behind is the other's to suffer.
    let config = PostgresConfig { max_connections: 1, ..partitioned(&server, PartitionInterval::Hourly) };
    let host = PostgresStorage::with_config(config.clone()).await.unwrap();
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let written = trace(start);
    host.store_trace(written.clone()).await.unwrap();

    // Other programs attach partitions, one soon after the other, each with an event of a new trace.
    let partition = |number: u128| {
        let [from, to] = [number, number + 1].map(|hour| hour * 3_600_000_000_000);
        let id = TraceId(Uuid::from_u128(number));
        format!(
            "BEGIN; CREATE TABLE other_{number} (LIKE event INCLUDING ALL);
             ALTER TABLE event ATTACH PARTITION other_{number} FOR VALUES FROM ({from}) TO ({to}); COMMIT;
             WITH new AS (INSERT INTO trace (trace_id, placed_at) VALUES ('{id}', {from}) RETURNING seq, placed_at)
             INSERT INTO event (trace, placed_at, occurred_at, event_id, kind, actor, root_event_id, span_text)
             SELECT seq, placed_at, placed_at, '{id}', 'ActorCreated', 'actor', '{id}', '' FROM new;
            "
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let program = &|first: u128| {
        let statements: String = (first..PARTITIONS).step_by(PROGRAMS as usize).map(partition).collect();
        let file = folder.path().join(first.to_string());
        std::fs::write(&file, format!("SET search_path TO {};\n{statements}", quoted(&config.schema_name))).unwrap();
        server.run(&file);
    };
    let batches = std::thread::scope(|scope| {
        let programs: Vec<_> = (0..PROGRAMS).map(|first| scope.spawn(move || program(first))).collect();
        let at_work = || !programs.iter().all(ScopedJoinHandle::is_finished);
        let read = async || {
            let mut newest = None;
            while at_work() {
                newest = host.headerless_traces(newest, 100).await.unwrap().last().copied().or(newest);
                if let Some(trace_id) = newest {
                    assert_eq!(host.get_events(trace_id).await.unwrap().len(), 1, "of {trace_id}");
                }
            }
        };
        let write = async || {
            let mut batches = 0;
            while at_work() {
                let time = start + TimeDelta::seconds(batches);
                let events = (0..50).map(|number| event(time + TimeDelta::milliseconds(number)));
                host.store_events(events.map(|event| (written.trace_id, event)).collect()).await.unwrap();
                batches += 1;
            }
            batches
        };
        let both = async { tokio::join!(join_all((0..3).map(|_| read())), write()).1 };
        tokio::task::block_in_place(|| Handle::current().block_on(both))
    });
    assert_eq!(host.stats().await.unwrap().events, PARTITIONS as u64 + 1 + 50 * batches as u64);
}

#[tokio::test]
async fn without_permission_to_create_them_a_missing_partition_is_an_error_with_the_statements() {
    let server = Postgres::shared();
    let config = PostgresConfig { auto_create_partitions: false, ..partitioned(&server, PartitionInterval::Daily) };
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    let stored = trace(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let error = storage.store_trace(stored.clone()).await.unwrap_err();
    // A matter of this trace's time: others are stored.
    assert!(matches!(error, StorageError::InvalidArgument(_)), "{error:?}");
    let message = error.to_string();
    let (_, statements) = message.split_once(":\n").expect("statements");
    query(&server, &config, statements);
    storage.store_trace(stored.clone()).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
}
