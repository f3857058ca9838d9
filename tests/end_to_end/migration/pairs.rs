//! From every backend into every other.

use std::any::Any;
use std::sync::Arc;

use reflow_tracing::migration::{CopyOptions, StorageMigrator};
use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginComponent, PluginConfig, RedisGrant};
use reflow_tracing::storage::{
    ClickHouseConfig, ClickHouseStorage, MemoryConfig, MemoryStorage, PostgresConfig, PostgresStorage, SqliteStorage,
    StorageBackend, StorageBackendExt,
};
use reflow_tracing::{TraceEvent, TraceId};
use reflow_tracing_tests::servers::{ClickHouse, Postgres, RedisServer};
use reflow_tracing_tests::{plugin, soak};

use uuid::Uuid;

use super::{everything, traces};

/// How many traces are copied.
fn count() -> usize {
    1_000 * soak() as usize
}

/// A store, and what must live as long.
struct Open {
    store: Arc<dyn StorageBackend>,
    _kept: Option<Box<dyn Any>>,
}

/// Opens new, empty stores of every kind.
struct Backends {
    postgres: Arc<Postgres>,
    clickhouse: Arc<ClickHouse>,
    redis: RedisServer,
    relational_plugin: PluginComponent,
    redis_plugin: PluginComponent,
    opened: usize,
}

const NAMES: [&str; 6] = ["memory", "sqlite", "postgres", "clickhouse", "relational", "redis"];

impl Backends {
    async fn start() -> Self {
        let component = async |name: &str| {
            PluginComponent::load(name, &plugin(name), &PluginConfig::default()).await.expect("a plugin")
        };
        Self {
            postgres: Postgres::shared(),
            clickhouse: ClickHouse::shared(),
            redis: RedisServer::start(),
            relational_plugin: component("relational").await,
            redis_plugin: component("redis").await,
            opened: 0,
        }
    }

    async fn open(&mut self, name: &str) -> Open {
        self.opened += 1;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("traces.db");
        let store: Arc<dyn StorageBackend> = match name {
            "memory" => Arc::new(MemoryStorage::with_config(MemoryConfig {
                max_traces: 10 * count(),
                max_memory_mb: 4_096,
                ..MemoryConfig::default()
            })),
            "sqlite" => Arc::new(SqliteStorage::new(&file).await.expect("a new file")),
            "postgres" => {
                let config = PostgresConfig {
                    connection_url: self.postgres.url("postgres"),
                    schema_name: format!("pairs_{}", Uuid::new_v4().simple()),
                    ..PostgresConfig::default()
                };
                Arc::new(PostgresStorage::with_config(config).await.expect("a new schema"))
            }
            "clickhouse" => {
                let (url, database) = (self.clickhouse.url(), self.clickhouse.database());
                let config = ClickHouseConfig { url, database, ..ClickHouseConfig::default() };
                Arc::new(ClickHouseStorage::with_config(config).await.expect("a new database"))
            }
            "relational" => {
                let database = format!("sqlite:{}", file.display());
                let grants = Grants { sql: [("default".into(), database)].into(), ..Grants::default() };
                Arc::new(Self::plugin(name, &self.relational_plugin, grants).await)
            }
            _ => {
                let prefix = format!("{}:", self.opened);
                let grant = RedisGrant { url: self.redis.url(), prefix, ..RedisGrant::default() };
                let grants = Grants { redis: [("default".into(), grant)].into(), ..Grants::default() };
                Arc::new(Self::plugin(name, &self.redis_plugin, grants).await)
            }
        };
        Open { store, _kept: Some(Box::new(folder)) }
    }

    async fn plugin(name: &str, component: &PluginComponent, grants: Grants) -> PluginBackend {
        // Generous: a busy machine must not fail the test.
        let limits = Limits { call_timeout_ms: 60_000, ..Limits::default() };
        let config = PluginConfig { grants, limits, ..PluginConfig::default() };
        PluginBackend::open(name, component.clone(), &config).await.expect("it opens")
    }
}

/// Fills a store of this kind, and copies it into a new one of each other kind.
async fn from(from: &str) {
    let mut backends = Backends::start().await;
    let origin = backends.open("memory").await;
    origin.store.store_traces(traces(count())).await.expect("stored");
    for number in 0..20 {
        let events = (0..number).map(|_| (TraceId::new(), TraceEvent::default()));
        origin.store.store_events(events.collect()).await.expect("stored");
    }
    let (expected, headerless) = everything(&*origin.store).await;
    assert_eq!((expected.len(), headerless.len()), (count(), 190));
    let source = backends.open(from).await;
    let filled = StorageMigrator::shared(origin.store.clone(), source.store.clone()).migrate_all_traces().await;
    let filled = filled.expect("filled");

    let options = CopyOptions { verify: true, ..CopyOptions::default() };
    for to in NAMES.into_iter().filter(|to| *to != from) {
        let target = backends.open(to).await;
        let migrator = StorageMigrator::shared(source.store.clone(), target.store.clone()).options(options.clone());
        let report = migrator.migrate_all_traces().await.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        let pair = format!("{from} to {to}: {report:?}");

        let verification = report.verification.as_ref().expect(&pair);
        assert_eq!((verification.differing, verification.copied_again), (0, 0), "{pair}");
        assert_eq!(verification.source.checksum, verification.target.checksum, "{pair}");
        assert_eq!(report.copied.traces, count() as u64, "{pair}");
        // Plugins can't list traces without a header, and say so.
        let lists = source.store.headerless_traces(None, 1).await.is_ok();
        if lists {
            assert_eq!(report.copied, filled.copied, "{pair}");
        }
        assert_eq!((report.is_complete(), report.unread_events), (lists, if lists { 0 } else { 190 }), "{pair}");

        let (found, without) = everything(&*target.store).await;
        assert_eq!(found.len(), count(), "{pair}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{pair}: expected {expected:?}, found {found:?}");
        }
        if lists && target.store.headerless_traces(None, 1).await.is_ok() {
            assert!(without == headerless, "{pair}");
        }
        target.store.close().await.expect("closed");
    }
    source.store.close().await.expect("closed");
}

macro_rules! pairs {
    ($($test:ident: $from:literal),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                from($from).await;
            }
        )*
    };
}

pairs! {
    traces_go_from_memory_to_every_other_backend_without_a_difference: "memory",
    traces_go_from_sqlite_to_every_other_backend_without_a_difference: "sqlite",
    traces_go_from_postgres_to_every_other_backend_without_a_difference: "postgres",
    traces_go_from_clickhouse_to_every_other_backend_without_a_difference: "clickhouse",
    traces_go_from_relational_to_every_other_backend_without_a_difference: "relational",
    traces_go_from_redis_to_every_other_backend_without_a_difference: "redis",
}
