//! The capability `sql`, through a plugin, on each real database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginComponent, PluginConfig, excessive_grants};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_tests::servers::{MariaDb, PgBouncer, Postgres};
use reflow_tracing_tests::{event_of_id, test_plugin};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// A database, and the plugin `probe-sql` with a grant for it.
struct Probe {
    backend: PluginBackend,
    database: Database,
}

enum Database {
    Sqlite(TempDir),
    Postgres(Arc<Postgres>),
    MariaDb(Arc<MariaDb>),
}

/// Generous: a busy machine must not fail the test.
fn limits() -> Limits {
    Limits { call_timeout_ms: 30_000, memory_mb: 32, connections: 4, instances: 2, ..Limits::default() }
}

/// For calls that never end. A legitimate call ends within it, even on a slow machine.
fn impatient() -> Limits {
    Limits { call_timeout_ms: 3_000, ..limits() }
}

async fn open(url: &str, limits: Limits) -> Result<PluginBackend, StorageError> {
    static COMPONENT: OnceCell<PluginComponent> = OnceCell::const_new();
    let component = COMPONENT.get_or_try_init(|| async {
        PluginComponent::load("probe-sql", &test_plugin("probe-sql"), &PluginConfig::default()).await
    });
    let grants = Grants { sql: [("default".into(), url.into())].into(), ..Grants::default() };
    let config = PluginConfig { grants, limits, ..PluginConfig::default() };
    PluginBackend::open("probe-sql", component.await?.clone(), &config).await
}

/// The answer to a call.
async fn tell(backend: &PluginBackend, how: &str, sql: &str, setup: &str) -> String {
    let tags = [("sql".to_owned(), sql.to_owned()), ("setup".to_owned(), setup.to_owned())];
    let query = TraceQuery { flow_id: Some(FlowId::new(how)), tags: tags.into(), ..TraceQuery::default() };
    let told = backend.query_traces(query).await.expect_err("it tells in an error").to_string();
    told.split_once("plugin `probe-sql`: ").map_or(told.clone(), |(_, told)| told.to_owned())
}

impl Probe {
    async fn sqlite(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("probe.db").display());
        Self { backend: open(&url, limits).await.expect("it opens"), database: Database::Sqlite(folder) }
    }

    async fn postgres(limits: Limits) -> Self {
        let server = Postgres::shared();
        let backend = open(&server.database(), limits).await.expect("it opens");
        Self { backend, database: Database::Postgres(server) }
    }

    async fn mariadb(limits: Limits) -> Self {
        let server = MariaDb::shared();
        let backend = open(&server.database(), limits).await.expect("it opens");
        Self { backend, database: Database::MariaDb(server) }
    }

    async fn all(limits: Limits) -> [Self; 3] {
        [Self::sqlite(limits.clone()).await, Self::postgres(limits.clone()).await, Self::mariadb(limits).await]
    }

    /// The kind of the database.
    fn name(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "SQLite",
            Database::Postgres(_) => "PostgreSQL",
            Database::MariaDb(_) => "MariaDB",
        }
    }

    /// The text for the kind of the database, where the dialects differ.
    fn pick<'a>(&self, sqlite: &'a str, postgres: &'a str, mariadb: &'a str) -> &'a str {
        match self.database {
            Database::Sqlite(_) => sqlite,
            Database::Postgres(_) => postgres,
            Database::MariaDb(_) => mariadb,
        }
    }

    async fn tell(&self, how: &str, sql: &str) -> String {
        tell(&self.backend, how, sql, "").await
    }

    /// Runs a statement that must succeed.
    async fn run(&self, sql: &str) {
        let told = self.tell("execute", sql).await;
        assert!(told.parse::<u64>().is_ok(), "{}: {sql}: {told}", self.name());
    }

    async fn expect(&self, how: &str, sql: &str, expected: &str) {
        assert_eq!(self.tell(how, sql).await, expected, "{}: {how}: {sql}", self.name());
    }

    async fn expect_start(&self, how: &str, sql: &str, start: &str) {
        let told = self.tell(how, sql).await;
        assert!(told.starts_with(start), "{}: {how}: {sql}: {told}", self.name());
    }

    /// The running statements that contain `part`.
    fn at_work(&self, part: &str) -> usize {
        // So that the query does not find itself.
        let (head, tail) = part.split_at(1);
        let found = match &self.database {
            Database::Sqlite(_) => return 0,
            Database::Postgres(server) => server.query(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{head}' || '{tail}%'"
            )),
            Database::MariaDb(server) => server.query(&format!(
                "SELECT count(*) FROM information_schema.processlist WHERE info LIKE concat('%{head}', '{tail}%')"
            )),
        };
        found.parse().expect("a count")
    }

    /// Waits until the server runs no statement with `part`.
    async fn ends(&self, part: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.at_work(part) > 0 {
            assert!(Instant::now() < deadline, "{}: a statement with `{part}` is still running", self.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_read_back_unchanged() {
    for probe in Probe::all(limits()).await {
        let (sql, expected) = match probe.database {
            Database::Sqlite(_) => {
                ("SELECT ?, ?, ?, ?, ?, ?", r#"null, 1, -9223372036854775808, real -0.1, "it's é💾", [0, 1, 255]"#)
            }
            Database::Postgres(_) => (
                "SELECT $1::int, $2::bool, $3::bigint, $4::float8, $5::text, $6::bytea",
                r#"null, true, -9223372036854775808, real -0.1, "it's é💾", [0, 1, 255]"#,
            ),
            Database::MariaDb(_) => {
                ("SELECT ?, ?, ?, ?, ?, ?", r#"null, 1, -9223372036854775808, real -0.1, "it's é💾", [0, 1, 255]"#)
            }
        };
        probe.expect("query-with-values", sql, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_postgresql_are_read() {
    let probe = Probe::postgres(limits()).await;
    for (sql, expected) in [
        (
            "SELECT 1::int2, 2::int4, 3::int8, 4::oid, true, 0.5::float4, 0.25::float8",
            "1, 2, 3, 4, true, real 0.5, real 0.25",
        ),
        ("SELECT 'a'::text, 'b'::varchar, 'c'::char(3), 'd'::name", r#""a", "b", "c  ", "d""#),
        ("SELECT '{\"a\": 1}'::json, '{\"a\": 1}'::jsonb", r#""{\"a\": 1}", "{\"a\": 1}""#),
        ("SELECT 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'::uuid", r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#),
        (
            "SELECT 0::numeric, 1::numeric(5,2), -1234567890.000123::numeric, 0.00001::numeric, 10000::numeric, 'NaN'::numeric",
            r#""0", "1.00", "-1234567890.000123", "0.00001", "10000", "NaN""#,
        ),
        (
            "SELECT '2026-01-31'::date, '13:37:00.5'::time, 'infinity'::date",
            r#""2026-01-31", "13:37:00.500000", "infinity""#,
        ),
        (
            "SELECT '1969-12-31 23:59:59.25'::timestamp, '2026-01-31 12:00:00+02'::timestamptz",
            r#""1969-12-31 23:59:59.250000", "2026-01-31 10:00:00+00:00""#,
        ),
        ("SELECT NULL, NULL::int", "null, null"),
    ] {
        probe.expect("query", sql, expected).await;
    }
    probe.run("CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN age AS int4").await;
    probe.expect("query", "SELECT 'sad'::mood, 7::age", r#""sad", 7"#).await;
    probe
        .expect_start(
            "query",
            "SELECT 1 AS one, ARRAY[1, 2] AS several",
            "conversion: column `several` has the type INT4[]",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_mariadb_are_read() {
    let probe = Probe::mariadb(limits()).await;
    probe
        .run(
            "CREATE TABLE t (a TINYINT, b SMALLINT UNSIGNED, c INT, d BIGINT UNSIGNED, e FLOAT, f DOUBLE, g DECIMAL(20,3), \
             h CHAR(3), i VARCHAR(9) CHARACTER SET utf8mb4, j TEXT CHARACTER SET utf8mb4, k BINARY(2), l VARBINARY(9), \
             m BLOB, n DATE, o DATETIME(6), p TIME(3), q YEAR, r ENUM('x', 'y'), s JSON, u BOOLEAN, \
             v VARCHAR(9) COLLATE utf8mb4_bin); \
             INSERT INTO t VALUES (-1, 65535, -5, 18446744073709551615, 0.5, 0.25, 1.5, 'abc', 'é', '💾', 'a', 'b', 'c', \
             '2026-01-31', '2026-01-31 13:37:00.25', '-25:00:00.5', 2026, 'y', '{\"a\": 1}', true, 'bin')",
        )
        .await;
    probe
        .expect(
            "query",
            "SELECT * FROM t",
            "-1, 65535, -5, \"18446744073709551615\", real 0.5, real 0.25, \"1.500\", \"abc\", \"é\", \"💾\", [97, 0], [98], \
             [99], \"2026-01-31\", \"2026-01-31 13:37:00.250000\", \"-25:00:00.500000\", 2026, \"y\", \"{\\\"a\\\": 1}\", 1, \"bin\"",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_bound_to_columns_of_several_types() {
    for probe in Probe::all(limits()).await {
        let postgres = probe.pick("", "uuid", "");
        for uuid in ["bytes", postgres].into_iter().filter(|kind| !kind.is_empty()) {
            let bytes = probe.pick("BLOB", "BYTEA", "LONGBLOB");
            let id = if uuid == "uuid" { "UUID" } else { probe.pick("BLOB", "BYTEA", "BINARY(16)") };
            let text = probe.pick("TEXT", "TEXT", "LONGTEXT CHARACTER SET utf8mb4");
            probe.run("DROP TABLE IF EXISTS batch").await;
            probe
                .run(&format!(
                    "CREATE TABLE batch (u {id}, high BIGINT, low BIGINT, n BIGINT, t {text}, fixed BIGINT, b {bytes})"
                ))
                .await;
            // More than fits into one statement.
            let events: Vec<(TraceId, TraceEvent)> = (1..=3_001_u128)
                .map(|number| (TraceId(uuid::Uuid::nil()), event_of_id(uuid::Uuid::from_u128(number << 96 | 7))))
                .collect();
            probe.backend.store_events(events.clone()).await.expect("they are stored");
            let mut read = probe.backend.get_events(TraceId(uuid::Uuid::nil())).await.expect("they are read");
            read.sort_by_key(|event| event.timestamp);
            assert!(read.iter().eq(events.iter().map(|(_, event)| event)), "{}", probe.name());
            probe
                .expect(
                    "query",
                    "SELECT count(*), min(high), max(low), min(fixed) FROM batch",
                    "3001, 4294967296, 7, 7",
                )
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_rows_is_stored_completely_or_not_at_all() {
    for probe in Probe::all(limits()).await {
        probe.run("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(99))").await;
        let values = probe.pick("(?, ?)", "($1, $2)", "(?, ?)");
        let at_once = format!("INSERT INTO t (id, name) VALUES {values}, ...");
        let one_by_one = format!("INSERT INTO t (id, name) VALUES {values}");
        for insert in [&at_once, &one_by_one] {
            probe.run("DELETE FROM t").await;
            probe.expect("execute-rows", insert, "1000").await;
            probe.expect_start("execute-rows-that-fail", insert, "database").await;
            probe.expect("query", "SELECT count(*), max(id) FROM t", "1000, 999").await;
            probe.expect("query", "SELECT name FROM t WHERE id = 317", "\"row 317\"").await;
        }
        // In a transaction, only the statement is rolled back.
        let told =
            tell(&probe.backend, "transaction-that-fails-in-part", &one_by_one, "DELETE FROM t WHERE id = 0").await;
        assert_eq!(told, "failed: true", "{}", probe.name());
        probe.expect("query", "SELECT count(*), max(id) FROM t", "999, 999").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_committed_is_rolled_back() {
    for probe in Probe::all(impatient()).await {
        probe.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        probe.expect("commit", "INSERT INTO t (id) VALUES (1)", "committed").await;
        // A leaked lock would block the next one.
        for how in ["drop-transaction", "trap-in-transaction", "spin-in-transaction"] {
            let told = probe.tell(how, "INSERT INTO t (id) VALUES (2)").await;
            let expected = match how {
                "drop-transaction" => "dropped",
                "trap-in-transaction" => "stopped itself",
                _ => "longer than 3000 ms",
            };
            assert!(told.contains(expected), "{}: {how}: {told}", probe.name());
            probe.expect("query", "SELECT count(*) FROM t", "1").await;
        }
        probe.expect("commit", "INSERT INTO t (id) VALUES (2)", "committed").await;
        probe.expect("query", "SELECT count(*) FROM t", "2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_begins_a_transaction_leaves_none_behind() {
    for probe in [Probe::postgres(limits()).await, Probe::mariadb(limits()).await] {
        probe.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        probe.run("BEGIN; INSERT INTO t (id) VALUES (1)").await;
        for _ in 0..3 {
            probe.expect("query", "SELECT count(*) FROM t", "0").await;
        }
        probe.run("INSERT INTO t (id) VALUES (1)").await;
        probe.expect("query", "SELECT count(*) FROM t", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_plugin_never_ends_is_rolled_back() {
    for probe in [Probe::postgres(impatient()).await, Probe::mariadb(impatient()).await] {
        probe.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
        probe.run("INSERT INTO t (id, n) VALUES (1, 0)").await;
        probe.expect("leave-transaction", "UPDATE t SET n = n + 10", "left open").await;
        // Waits for the lock on the row until the server ends the other session.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let told = probe.tell("execute", "UPDATE t SET n = 1").await;
            if told == "1" {
                break;
            }
            assert!(Instant::now() < deadline, "{}: {told}", probe.name());
        }
        probe.expect("query", "SELECT n FROM t", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_read_in_pages() {
    for probe in Probe::all(limits()).await {
        // 100 MB in all, for a plugin with 32.
        let sql = probe.pick(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
             SELECT i, printf('%01000d', i) FROM n",
            "SELECT i, repeat('x', 1000) FROM generate_series(1, 100000) AS i",
            "SELECT seq, repeat('x', 1000) FROM seq_1_to_100000",
        );
        let limits = Limits { call_timeout_ms: 60_000, ..limits() };
        let backend = match &probe.database {
            Database::Sqlite(folder) => {
                open(&format!("sqlite:{}", folder.path().join("probe.db").display()), limits).await
            }
            Database::Postgres(server) => open(&server.database(), limits).await,
            Database::MariaDb(server) => open(&server.database(), limits).await,
        };
        let told = tell(&backend.expect("it opens"), "count-rows", sql, "").await;
        assert_eq!(told, "100000 rows in many pages", "{}", probe.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_are_never_dropped_end_with_their_call() {
    for probe in Probe::all(limits()).await {
        let sql = probe.pick(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n",
            "SELECT i, repeat('x', 1000) FROM generate_series(1, 1000000) AS i",
            "SELECT seq, repeat('x', 1000) FROM seq_1_to_1000000",
        );
        probe.expect("leak-cursors", sql, "pool-exhausted").await;
        // The plugin keeps them, but their call has ended, and with it they did.
        probe.run("CREATE TABLE t (id INT)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_dropped_midway_return_their_connections() {
    for probe in [Probe::postgres(limits()).await, Probe::mariadb(limits()).await] {
        let sql = probe.pick(
            "",
            "SELECT i, repeat('x', 1000) FROM generate_series(1, 100000) AS i",
            "SELECT seq, repeat('x', 1000) FROM seq_1_to_100000",
        );
        probe.expect("drop-cursors", sql, "dropped").await;
        probe.run("CREATE TABLE t (id INT)").await;
        let told = tell(&probe.backend, "cursor-in-transaction", sql, "INSERT INTO t VALUES (1)").await;
        assert_eq!(told, "refused: true", "{}", probe.name());
        probe.expect("query", "SELECT count(*) FROM t", "1").await;
        probe.ends("repeat(").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_statement_ends_in_the_server_too() {
    for probe in [Probe::postgres(impatient()).await, Probe::mariadb(impatient()).await] {
        let sql = probe.pick("", "SELECT pg_sleep(1000)", "SELECT SLEEP(1000)");
        let told = probe.tell("query", sql).await;
        assert!(told.contains("longer than 3000 ms") || told == "timeout", "{}: {told}", probe.name());
        probe.ends("(1000)").await;
        probe.expect("query", "SELECT 1", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_removed_its_time_limit_ends_when_its_call_does() {
    let limits = Limits { connections: 2, call_timeout_ms: 1_000, ..limits() };
    for probe in [Probe::postgres(limits.clone()).await, Probe::mariadb(limits).await] {
        let sql = probe.pick(
            "",
            "SELECT set_config('statement_timeout', '0', false), pg_sleep(1001)",
            "SET STATEMENT max_statement_time = 0 FOR SELECT SLEEP(1001)",
        );
        for round in 0..3 {
            let told = probe.tell("query", sql).await;
            assert!(told.contains("longer than 1000 ms"), "{}: {told}", probe.name());
            let at_work = probe.at_work("(1001)");
            assert!(at_work <= 2, "{}: {at_work} statements run behind two connections, round {round}", probe.name());
        }
        probe.ends("(1001)").await;
        probe.expect("query", "SELECT 1", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sees_nothing_that_another_left_in_its_session() {
    // With one connection, each call would see it.
    let limits = limits_of_one();
    let of_postgres = [
        ("SELECT set_config('my.own', 'left', false)", "SELECT coalesce(current_setting('my.own', true), '')", "\"\""),
        (
            "SELECT set_config('statement_timeout', '0', false)",
            "SELECT current_setting('statement_timeout')",
            "\"30s\"",
        ),
        ("SELECT set_config('role', 'pg_monitor', false)", "SELECT current_user::text", "\"postgres\""),
        (
            "SELECT pg_advisory_lock(7)::text",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7",
            "0",
        ),
        ("CREATE TEMP TABLE mine (a INT)", "SELECT to_regclass('mine')::text", "null"),
        ("SELECT 1 AS a INTO TEMP mine", "SELECT to_regclass('mine')::text", "null"),
        ("PREPARE mine AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'", "0"),
        ("SELECT secretly('LISTEN mine')", "SELECT count(*) FROM pg_listening_channels()", "0"),
        (
            "SELECT secretly('PREPARE mine AS SELECT 1')",
            "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'",
            "0",
        ),
        ("SELECT secretly('DEALLOCATE ALL')", "SELECT 1", "1"),
    ];
    let of_mariadb = [
        ("SELECT @mine := 1", "SELECT @mine", "null"),
        ("SELECT 1 INTO @mine", "SELECT @mine", "null"),
        ("SELECT GET_LOCK('mine', 0)", "SELECT IS_USED_LOCK('mine')", "null"),
        ("CREATE TEMPORARY TABLE mine (a INT)", "SELECT * FROM mine", "database 42S02"),
        ("SET @@session.sql_mode = ''", "SELECT @@session.sql_mode <> ''", "1"),
        ("INSERT INTO counted (n) VALUES (1)", "SELECT LAST_INSERT_ID()", "0"),
        ("SELECT secretly()", "SELECT @mine", "null"),
        // Last: from now on, every statement may run code.
        ("INSERT INTO watched (n) VALUES (1)", "SELECT @mine", "null"),
    ];
    let of_sqlite = [
        ("CREATE TEMP TABLE mine (a)", "SELECT count(*) FROM sqlite_temp_schema", "0"),
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", "1"),
    ];
    for probe in Probe::all(limits).await {
        let left = match probe.database {
            Database::Sqlite(_) => &of_sqlite[..],
            Database::Postgres(_) => {
                probe
                    .run(
                        "CREATE FUNCTION secretly(statement text) RETURNS int LANGUAGE plpgsql AS \
                         $$ BEGIN EXECUTE statement; RETURN 1; END $$",
                    )
                    .await;
                &of_postgres[..]
            }
            Database::MariaDb(_) => {
                probe.run("CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY, n INT)").await;
                probe.run("CREATE TABLE watched (n INT)").await;
                &of_mariadb[..]
            }
        };
        for (leave, look, expected) in left {
            if leave.contains("secretly()") {
                probe.run("CREATE FUNCTION secretly() RETURNS INT BEGIN SET @mine = 1; RETURN 1; END").await;
                probe.run("CREATE TRIGGER watching BEFORE INSERT ON watched FOR EACH ROW SET @mine = 1").await;
            }
            let how = if leave.starts_with("SELECT") { "query" } else { "execute" };
            let told = probe.tell(how, leave).await;
            assert!(!told.contains(": "), "{}: {leave}: {told}", probe.name());
            probe.expect_start("query", look, expected).await;
        }
    }
    let sqlite = Probe::sqlite(limits_of_one()).await;
    sqlite.expect_start("execute", "ATTACH '' AS mine", "access-denied").await;
    sqlite.run("VACUUM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused() {
    let server = Postgres::shared();
    let session = PgBouncer::start(&server, "session");
    let backend = open(&session.url(), limits()).await.expect("it opens");
    assert_eq!(tell(&backend, "query", "SELECT 1", "").await, "1");
    assert_eq!(tell(&backend, "query", "SELECT 1", "").await, "1", "in a session that was reset");
    let transaction = PgBouncer::start(&server, "transaction");
    let backend = open(&transaction.url(), limits()).await.expect("nothing is connected yet");
    let told = tell(&backend, "query", "SELECT 1", "").await;
    assert!(told.contains("pool_mode = session"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_can_leave_the_database_is_noticed() {
    let (postgres, mariadb) = (Postgres::shared(), MariaDb::shared());
    postgres.query(
        "CREATE ROLE reader LOGIN; CREATE ROLE filer LOGIN IN ROLE pg_read_server_files; \
         CREATE ROLE runner LOGIN IN ROLE pg_execute_server_program",
    );
    mariadb.query("CREATE DATABASE own; CREATE USER own@localhost; GRANT ALL ON own.* TO own@localhost");
    mariadb.query("CREATE USER filer@localhost; GRANT FILE ON *.* TO filer@localhost");
    for (url, expected) in [
        (postgres.url("postgres"), Some("superuser")),
        (postgres.url("filer"), Some("files of the server")),
        (postgres.url("runner"), Some("programs on the server")),
        (postgres.url("reader"), None),
        (mariadb.url("root", "own"), Some("all privileges")),
        (mariadb.url("filer", "information_schema"), Some("FILE")),
        (mariadb.url("own", "own"), None),
        ("sqlite:nowhere.db".into(), None),
    ] {
        let grants = Grants { sql: [("default".into(), url.clone())].into(), ..Grants::default() };
        let warnings = excessive_grants("p", &PluginConfig { grants, ..PluginConfig::default() }).await;
        match expected {
            None => assert!(warnings.is_empty(), "{url}: {warnings:?}"),
            Some(part) => {
                let [warning] = &warnings[..] else { panic!("{url}: {warnings:?}") };
                assert!(warning.contains(part) && warning.contains("plugins.p.grants.sql.default"), "{warning}");
            }
        }
    }
}

fn limits_of_one() -> Limits {
    Limits { connections: 1, ..limits() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_call_left_is_soon_free_for_others() {
    for probe in [Probe::postgres(limits()).await, Probe::mariadb(limits()).await] {
        let lock = probe.pick("", "SELECT pg_advisory_lock(77)::text", "SELECT GET_LOCK('lock 77', 0)");
        probe.tell("query", lock).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let held = || match &probe.database {
            Database::Postgres(server) => {
                server.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77")
            }
            Database::MariaDb(server) => server.query("SELECT IS_USED_LOCK('lock 77') IS NOT NULL"),
            Database::Sqlite(_) => unreachable!("it has no locks by name"),
        };
        while held() != "0" {
            assert!(Instant::now() < deadline, "{}: it is still held", probe.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_database_has_its_sqlstate() {
    for probe in Probe::all(limits()).await {
        probe.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        probe.run("INSERT INTO t (id) VALUES (1)").await;
        let unique = probe.pick("database 1555", "database 23505", "database 23000");
        probe.expect_start("execute", "INSERT INTO t (id) VALUES (1)", &format!("{unique} (retryable: false)")).await;
        let no_table = probe.pick("database 1", "database 42P01", "database 42S02");
        probe.expect_start("query", "SELECT * FROM nothing", no_table).await;
        // The same connection stays usable.
        probe.expect("query", "SELECT count(*) FROM t", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_postgresql_cannot_store_is_refused_with_a_remedy() {
    let probe = Probe::postgres(limits()).await;
    probe.run("CREATE TABLE t (a TEXT, b BYTEA, c NUMERIC, d INT2)").await;
    probe
        .expect_start(
            "execute-with-nul",
            "INSERT INTO t (a) VALUES ($1)",
            "conversion: parameter 1: PostgreSQL can't store",
        )
        .await;
    probe.expect("execute-with-nul", "INSERT INTO t (b) VALUES ($1)", "1").await;
    probe.expect("query", "SELECT b FROM t", "[97, 0, 98]").await;
    probe
        .expect_start(
            "execute-with-real",
            "INSERT INTO t (c) VALUES ($1)",
            "conversion: parameter 1 has the type NUMERIC",
        )
        .await;
    probe
        .expect_start(
            "execute-with-values",
            "SELECT $1::int",
            "other: the statement has 1 parameters, but 6 were passed",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_is_used_again() {
    let (postgres, mariadb) = (Arc::new(Postgres::start()), Arc::new(MariaDb::start()));
    let probes = [
        Probe {
            backend: open(&postgres.database(), limits()).await.expect("it opens"),
            database: Database::Postgres(Arc::clone(&postgres)),
        },
        Probe {
            backend: open(&mariadb.database(), limits()).await.expect("it opens"),
            database: Database::MariaDb(Arc::clone(&mariadb)),
        },
    ];
    for probe in &probes {
        probe.expect("query", "SELECT 1", "1").await;
        match &probe.database {
            Database::Postgres(server) => server.stop(),
            Database::MariaDb(server) => server.stop(),
            Database::Sqlite(_) => unreachable!("it has no server"),
        }
        probe.expect_start("query", "SELECT 1", "connection-lost: can't connect").await;
        match &probe.database {
            Database::Postgres(server) => server.launch(),
            Database::MariaDb(server) => server.launch(),
            Database::Sqlite(_) => unreachable!("it has no server"),
        }
        probe.expect("query", "SELECT 1", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_shows_a_password() {
    let (postgres, mariadb) = (Postgres::shared(), MariaDb::shared());
    for (url, password, expected) in [
        (postgres.url("locked:secret"), "secret", "1"),
        (postgres.url("locked:wrongword"), "wrongword", "access-denied: password authentication failed"),
        (mariadb.url("locked:secret", "mysql"), "secret", "1"),
        (mariadb.url("locked:wrongword", "mysql"), "wrongword", "access-denied: Access denied for user 'locked'"),
        ("postgresql://me:wrongword@localhost/db?host=/nowhere".into(), "wrongword", "connection-lost: can't connect"),
        ("mysql://me:wrongword@localhost/db?socket=/nowhere".into(), "wrongword", "connection-lost: can't connect"),
    ] {
        let backend = open(&url, limits()).await.expect("nothing is connected yet");
        let told = tell(&backend, "query", "SELECT 1", "").await;
        assert!(told.starts_with(expected) && !told.contains(password), "{told}");
    }
    for url in ["postgresql://me:wrongword@:x/", "mysql://me:wrongword@[/", "oracle://me:wrongword@host/", "sqlite:"] {
        let refusal = open(url, limits()).await.err().expect("the grant makes no sense").to_string();
        assert!(
            refusal.contains("plugins.probe-sql.grants.sql.default") && !refusal.contains("wrongword"),
            "{refusal}"
        );
    }
}
