//! How many connections there are, and for how long.

use std::time::{Duration, Instant};

use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend};
use reflow_tracing::{TraceId, TraceQuery};

use super::config;
use crate::servers::Postgres;

fn sessions(server: &Postgres) -> Vec<String> {
    let pids = "SELECT pid FROM pg_stat_activity WHERE application_name = 'reflow-tracing' ORDER BY pid";
    server.query(pids).lines().map(str::to_owned).collect()
}

/// Waits until the sessions are as wanted.
async fn until(server: &Postgres, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let sessions = sessions(server);
        if wanted(&sessions) {
            return sessions;
        }
        assert!(Instant::now() < patience, "{what}: {sessions:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn work(storage: &PostgresStorage) {
    let calls = (0..8).map(|_| async {
        storage.query_traces(TraceQuery::default()).await.unwrap();
        storage.get_trace(TraceId::new()).await.unwrap();
    });
    futures::future::join_all(calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_down_to_the_minimum() {
    // Of its own: the sessions of other tests would be counted.
    let server = Postgres::start();
    for min_connections in [0, 2] {
        let config = PostgresConfig { min_connections, idle_timeout_ms: 200, ..config(&server) };
        let storage = PostgresStorage::with_config(config).await.unwrap();
        work(&storage).await;
        let fewest = min_connections as usize;
        until(&server, "the others are closed", |sessions| sessions.len() == fewest).await;
        work(&storage).await;
        assert!(sessions(&server).len() <= 4, "`max_connections` is 4");
        storage.close().await.unwrap();
        until(&server, "all are closed", <[_]>::is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_replaced_after_their_maximum_lifetime() {
    let server = Postgres::start();
    let config = PostgresConfig { max_lifetime_ms: 200, min_connections: 1, ..config(&server) };
    let storage = PostgresStorage::with_config(config).await.unwrap();
    work(&storage).await;
    let before = sessions(&server);
    until(&server, "all are others", |sessions| {
        !sessions.is_empty() && sessions.iter().all(|session| !before.contains(session))
    })
    .await;
}
