//! The conformance suite.

use std::time::Duration;

use reflow_tracing::storage::{ClickHouseStorage, StorageError};
use reflow_tracing_conformance as conformance;
use reflow_tracing_conformance::{Subject, Suite};

use super::config;
use crate::servers::ClickHouse;

/// The server plans a statement in milliseconds, and some cases run thousands.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Runs when a case ends, to remove its database.
pub struct OfCase<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OfCase<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

async fn fresh() -> Result<Subject, StorageError> {
    let server = ClickHouse::shared();
    let config = config(&server);
    let storage = ClickHouseStorage::with_config(config.clone()).await?;
    Ok(Subject::new(storage).keeping(OfCase(move || server.forget(&config.database))))
}

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_keeps_the_contract() {
    let _server = ClickHouse::shared();
    Suite::new().time_limit(PATIENCE).run(fresh).await.assert_passed();
}

#[test]
fn clickhouse_answers_like_the_oracle() {
    let _server = ClickHouse::shared();
    conformance::check_generated(24, fresh).unwrap();
}
