//! The suite, without partitions and with them.

use reflow_tracing::storage::conformance::{self, Subject};
use reflow_tracing::storage::{PartitionInterval, PostgresConfig, PostgresStorage, StorageError};

use super::config;
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
