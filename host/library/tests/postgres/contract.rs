//! The conformance suite, without and with partitions.

use chrono::{DateTime, TimeDelta};
use reflow_tracing::storage::{PartitionInterval, PostgresConfig, PostgresStorage, StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, MessageSnapshot, TraceEvent};
use reflow_tracing_conformance as conformance;
use reflow_tracing_conformance::Subject;

use super::{config, event, storage, trace};
use crate::servers::Postgres;

async fn plain() -> Result<Subject, StorageError> {
    let server = Postgres::shared();
    Ok(Subject::new(PostgresStorage::with_config(config(&server)).await?).keeping(server))
}

async fn partitioned() -> Result<Subject, StorageError> {
    let server = Postgres::shared();
    let config = PostgresConfig {
        enable_partitioning: true,
        partition_interval: PartitionInterval::Weekly,
        enable_gin_index: true,
        ..config(&server)
    };
    Ok(Subject::new(PostgresStorage::with_config(config).await?).keeping(server))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let _server = Postgres::shared();
    conformance::run(plain).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_with_partitions_keeps_the_contract() {
    let _server = Postgres::shared();
    conformance::run(partitioned).await.assert_passed();
}

#[test]
fn postgres_answers_like_the_oracle() {
    let _server = Postgres::shared();
    conformance::check_generated(48, plain).unwrap();
}

#[test]
fn postgres_with_partitions_answers_like_the_oracle() {
    let _server = Postgres::shared();
    conformance::check_generated(16, partitioned).unwrap();
}

/// A large batch uses COPY, which can't skip stored events.
#[tokio::test]
async fn a_large_batch_that_is_stored_in_part_is_completed() {
    let (_server, _config, storage) = storage().await;
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let mut events: Vec<TraceEvent> = (0..600).map(|number| event(start + TimeDelta::nanoseconds(number))).collect();
    // Values that both ways must keep: a text with U+0000, bytes, -0.0.
    for event in &mut events {
        event.actor_id = "a\0\u{fdd0}".into();
        event.data.performance_metrics.throughput_msgs_per_sec = Some(-0.0);
        event.data.message = Some(MessageSnapshot { serialized_data: vec![0, 255], ..Default::default() });
    }
    let stored = FlowTrace { events, ..trace(start) };
    let of_trace = |events: &[TraceEvent]| events.iter().map(|event| (stored.trace_id, event.clone())).collect();
    storage.store_events(of_trace(&stored.events[..300])).await.unwrap();
    storage.store_trace(stored.clone()).await.unwrap();
    // Twice in one batch.
    storage.store_events(of_trace(&[&stored.events[..], &stored.events[..]].concat())).await.unwrap();
    assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored.clone()));
    assert_eq!(storage.stats().await.unwrap().events, 600);
}
