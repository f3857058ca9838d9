//! What a read costs: the rows that the server says it read.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use futures::future::join_all;
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, StorageBackend};
use reflow_tracing::{FlowId, FlowTrace, SortOrder, TraceEvent, TraceId, TraceQuery};

use super::{config, event, query, storage, trace};
use crate::servers::ClickHouse;

/// The rows that the server read of these tables for what `work` asked.
async fn rows_read<T>(server: &ClickHouse, config: &ClickHouseConfig, work: impl Future<Output = T>) -> (T, u64) {
    static MARKS: AtomicU32 = AtomicU32::new(0);
    let mark = format!("mark {}", MARKS.fetch_add(1, Ordering::Relaxed));
    server.query(&format!("SELECT '{mark} before'"));
    let done = work.await;
    let sum = format!(
        "SELECT countIf(type = 'QueryStart') = countIf(type != 'QueryStart'), sum(read_rows) FROM system.query_log \
         WHERE query_kind = 'Select' AND has(databases, '{}') AND query_start_time_microseconds >= \
         (SELECT max(query_start_time_microseconds) FROM system.query_log WHERE query = 'SELECT \\'{mark} before\\'')",
        config.database
    );
    // The end of a query, which has the rows, may be logged after its answer.
    for _ in 0..200 {
        server.query("SYSTEM FLUSH LOGS");
        if let Some(rows) = server.query(&sum).strip_prefix("1\t") {
            return (done, rows.trim().parse().unwrap());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("queries that were answered are not logged as ended");
}

/// So many traces of 20 events in several days, in several parts.
async fn fill(storage: &ClickHouseStorage, count: i64) -> Vec<FlowTrace> {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let traces: Vec<_> = (0..count)
        .map(|number| {
            let start_time = start + TimeDelta::seconds(number * 60);
            let events =
                (0..20).map(|event_number| event(start_time + TimeDelta::milliseconds(event_number))).collect();
            FlowTrace { flow_id: FlowId::new(format!("flow {}", number % 50)), events, ..trace(start_time) }
        })
        .collect();
    for part in traces.chunks(traces.len() / 4) {
        storage.store_traces(part.to_vec()).await.unwrap();
    }
    traces
}

#[tokio::test]
async fn a_trace_is_found_without_reading_the_others() {
    let (server, config, storage) = storage().await;
    let traces = fill(&storage, 4_000).await;
    let stored = &traces[1_234];
    let (found, rows) = rows_read(&server, &config, storage.get_trace(stored.trace_id)).await;
    assert_eq!(found.unwrap().as_ref(), Some(stored));
    // Of 80,000 events: a granule or two of each of the three tables, in each part that may hold the trace.
    assert!(rows < 12_000, "{rows} rows were read");
    let (found, rows) = rows_read(&server, &config, storage.get_trace(TraceId::new())).await;
    assert_eq!(found.unwrap(), None);
    assert!(rows < 4_000, "{rows} rows were read");
}

#[tokio::test]
async fn every_page_costs_as_much_as_the_first() {
    let (server, config, storage) = storage().await;
    fill(&storage, 4_000).await;
    for order in [SortOrder::NewestFirst, SortOrder::OldestFirst] {
        let mut asked = TraceQuery { limit: Some(20), order, ..TraceQuery::default() };
        let (page, first) = rows_read(&server, &config, storage.query_page(asked.clone().into())).await;
        asked.page_token = page.unwrap().next_page_token;
        for _ in 0..100 {
            asked.page_token = storage.query_page(asked.clone().into()).await.unwrap().next_page_token;
        }
        let (page, later) = rows_read(&server, &config, storage.query_page(asked.into())).await;
        assert_eq!(page.unwrap().traces.len(), 20);
        assert!(
            later < first * 2 + 10_000,
            "{order:?}: {first} rows were read for the first page, {later} for a later one"
        );
    }
}

#[tokio::test]
async fn events_are_streamed_in_their_order_each_once() {
    let (_server, _config, storage) = storage().await;
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events: Vec<TraceEvent> = (0..5_000).map(|number| event(start + TimeDelta::nanoseconds(number / 3))).collect();
    let stored = FlowTrace { events, ..trace(start) };
    storage.store_trace(stored.clone()).await.unwrap();
    storage.store_trace(stored.clone()).await.unwrap();
    let streamed: Vec<_> = storage.stream_events(stored.trace_id).map(Result::unwrap).collect().await;
    assert_eq!(streamed.len(), 5_000);
    assert_eq!(streamed, storage.get_events(stored.trace_id).await.unwrap());
    let first = storage.stream_events(stored.trace_id).next().await.unwrap().unwrap();
    assert_eq!(first, streamed[0]);
}

/// How often events were inserted.
async fn inserts(server: &ClickHouse, config: &ClickHouseConfig) -> u64 {
    server.query("SYSTEM FLUSH LOGS");
    // Their end is logged after the answer, at times too late to be seen here.
    let count = "SELECT count() FROM system.query_log WHERE type = 'QueryStart' AND query_kind = 'Insert' \
                 AND query LIKE 'INSERT INTO `{}`.events%FORMAT RowBinary%'";
    query(server, config, count).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_writes_are_stored_together() {
    let (server, config, storage) = storage().await;
    let trace_id = TraceId::new();
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let writes = (0..2_000).map(|number| storage.store_event(trace_id, event(start + TimeDelta::nanoseconds(number))));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let inserts = inserts(&server, &config).await;
    assert!(inserts <= 40, "{inserts} inserts for 2,000 writes at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_full_with_batch_size_rows() {
    let server = ClickHouse::shared();
    let config = ClickHouseConfig { batch_size: 100, ..config(&server) };
    let storage = ClickHouseStorage::with_config(config.clone()).await.unwrap();
    let trace_id = TraceId::new();
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events: Vec<_> = (0..1_000).map(|number| (trace_id, event(start + TimeDelta::nanoseconds(number)))).collect();
    storage.store_events(events).await.unwrap();
    assert_eq!(inserts(&server, &config).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_at_most_the_flush_interval_for_the_one_before_it() {
    let server = ClickHouse::shared();
    let proxy = super::proxy::Proxy::start(vec![server.address()]).await;
    let base = ClickHouseConfig { url: proxy.url.clone(), ..config(&server) };
    for (flush_interval_ms, at_once) in [(60_000, 1), (1, 2)] {
        let config = ClickHouseConfig { flush_interval_ms, database: server.database(), ..base.clone() };
        let storage = ClickHouseStorage::with_config(config).await.unwrap();
        proxy.delay_inserts(std::time::Duration::from_millis(400));
        let before = proxy.inserts();
        let first = storage.store_event(TraceId::new(), TraceEvent::default());
        let second = async {
            while proxy.inserts() == before {
                tokio::task::yield_now().await;
            }
            let write = storage.store_event(TraceId::new(), TraceEvent::default());
            let inserts_meanwhile = async {
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                proxy.inserts() - before
            };
            tokio::join!(write, inserts_meanwhile)
        };
        let (first, (second, inserts)) = tokio::join!(first, second);
        first.unwrap();
        second.unwrap();
        assert_eq!(inserts, at_once, "with a flush interval of {flush_interval_ms} ms");
    }
}
