//! Creates, migrates and checks the tables.

use reflow_tracing_storage::StorageError;

use super::config::ClickHouseConfig;
use super::connection::Server;
use super::tables::Tables;

/// The migrations: the first one creates version 1. A published migration never changes. Every statement can run again, because
/// hosts may start at the same time or stop in between. Migrations only add, so that hosts of the version before can continue.
const MIGRATIONS: [&str; 3] =
    [include_str!("sql/1_tables.sql"), include_str!("sql/2_newer_fields.sql"), include_str!("sql/3_leases.sql")];

/// The schema version of this program.
const VERSION: u32 = MIGRATIONS.len() as u32;

/// The tables that are sharded over a cluster, with their sharding keys. All rows of a trace are on one shard.
const DISTRIBUTED: [(&str, &str); 7] = [
    ("traces", "cityHash64(trace_id)"),
    ("events", "cityHash64(trace_id)"),
    ("trace_lookup", "cityHash64(trace_id)"),
    ("event_metrics", "rand()"),
    ("leases", "cityHash64(host)"),
    ("held", "cityHash64(trace_id)"),
    ("schema_version", "0"),
];

/// The tables whose rows expire, with the time that counts, in seconds since 1970.
const EXPIRING: [(&str, &str); 4] = [
    ("traces", "intDiv(toUnixTimestamp64Nano(start_time), 1000000000)"),
    ("events", "intDiv(toUnixTimestamp64Nano(timestamp), 1000000000)"),
    ("trace_lookup", "intDiv(greatest(starts_to, events_to), 1000000000)"),
    ("event_metrics", "toUnixTimestamp64Second(minute)"),
];

impl Tables {
    fn create_database(&self) -> String {
        format!("CREATE DATABASE IF NOT EXISTS {}{}", self.database, self.on_cluster())
    }

    /// The statements of a migration in order.
    fn statements(&self, migration: &str, retention_days: u32) -> Vec<String> {
        let (replicated, window) = match self.cluster {
            Some(_) => ("Replicated", "replicated_deduplication_window"),
            None => ("", "non_replicated_deduplication_window"),
        };
        let mut sql = migration
            .replace("{database}", &self.database)
            .replace("{local}", self.local())
            .replace("{on_cluster}", &self.on_cluster())
            .replace("{replicated}", replicated)
            .replace("{window}", window);
        for (table, time) in EXPIRING {
            sql = sql.replace(
                &format!("{{ttl of {table}}}\n"),
                &match retention_days {
                    0 => String::new(),
                    days => format!("TTL {}\n", expiry(time, days)),
                },
            );
        }
        let mut statements: Vec<_> = sql.split(";\n").map(|statement| statement.trim().to_owned()).collect();
        if let Some(cluster) = &self.cluster {
            let database = &self.database;
            let is_new = |(table, _): &(&str, &str)| {
                migration.contains(&format!("TABLE IF NOT EXISTS {{database}}.{table}{{local}}"))
            };
            statements.extend(DISTRIBUTED.into_iter().filter(is_new).map(|(table, key)| {
                format!(
                    "CREATE TABLE IF NOT EXISTS {database}.{table} ON CLUSTER {cluster} AS {database}.{table}_local\n\
                     ENGINE = Distributed({cluster}, {database}, {table}_local, {key})"
                )
            }));
        }
        statements
    }

    fn note(&self, version: u32, retention_days: u32) -> String {
        format!("INSERT INTO {} (version, retention_days) VALUES ({version}, {retention_days})", self.schema_version)
    }
}

impl ClickHouseConfig {
    /// The statements that create the tables, for servers where the host's user must not create them.
    pub fn schema_sql(&self) -> String {
        let tables = Tables::new(self);
        let mut statements = vec![tables.create_database()];
        for migration in MIGRATIONS {
            statements.extend(tables.statements(migration, self.retention_days));
        }
        statements.push(tables.note(VERSION, self.retention_days));
        statements.into_iter().map(|statement| statement + ";\n\n").collect()
    }
}

/// When a row expires. The server stores this in 32 bits, so times before 1970 and expiry times from 2106 on are clamped.
fn expiry(seconds: &str, days: u32) -> String {
    let latest = u64::from(u32::MAX).saturating_sub(u64::from(days) * 86_400);
    format!("toDateTime(least(greatest({seconds}, 0), {latest}), 'UTC') + INTERVAL {days} DAY")
}

/// Creates the tables in a new database, migrates older ones, and rejects newer ones.
///
/// Several hosts may start at the same time: each statement creates only what is missing, and recording a version twice does no
/// harm.
pub(super) async fn prepare(server: &Server, config: &ClickHouseConfig) -> Result<(), StorageError> {
    let tables = &server.tables;
    let is_there = format!("EXISTS TABLE {}", tables.schema_version);
    let noted = if server.row::<u8>(&is_there).await? == 0 {
        let database = format!("EXISTS DATABASE {}", tables.database);
        if server.row::<u8>(&database).await? == 0 {
            server.execute(&tables.create_database()).await?;
        }
        check_foreign(server, config).await?;
        None
    } else {
        noted(server).await?
    };
    // A host may have stopped before it recorded the version.
    let (version, retention_days) = noted.unwrap_or((0, config.retention_days));
    check_version(version, config)?;
    if (1..VERSION).contains(&version) {
        tracing::info!(
            database = config.database,
            "migrating the tables from version {version} to version {VERSION}; an older program refuses the store afterwards, so \
             keep a backup from before if you may go back"
        );
    }
    for (next, migration) in (1..).zip(MIGRATIONS).skip(version as usize) {
        for statement in tables.statements(migration, retention_days) {
            server.execute(&statement).await?;
        }
        server.execute(&tables.note(next, retention_days)).await?;
    }
    if retention_days != config.retention_days {
        change_retention(server, config.retention_days).await?;
    }
    Ok(())
}

/// Checks that the tables can be read, and changes nothing. Tables of version 1 are read as they are.
pub(super) async fn check_to_read(server: &mut Server, config: &ClickHouseConfig) -> Result<(), StorageError> {
    let is_there = format!("EXISTS TABLE {}", server.tables.schema_version);
    let version = match server.row::<u8>(&is_there).await? {
        0 => None,
        _ => noted(server).await?.map(|(version, _)| version).filter(|version| *version > 0),
    };
    match version {
        None => Err(StorageError::Configuration(format!(
            "{} has no tables of this program, or the user may not read them. `reflow-tracing serve` creates them; or \
             set `url` or `database` to another one, or grant the user `SELECT` on the tables",
            server.target
        ))),
        Some(version) => {
            check_version(version, config)?;
            if version == 1 {
                server.tables.read_version_1();
            }
            Ok(())
        }
    }
}

/// The version of the tables and their retention, as last recorded.
async fn noted(server: &Server) -> Result<Option<(u32, u32)>, StorageError> {
    let table = &server.tables.schema_version;
    let last = format!("SELECT version, retention_days FROM {table} ORDER BY at DESC LIMIT 1");
    Ok(server.rows(&last).await?.pop())
}

fn check_version(version: u32, config: &ClickHouseConfig) -> Result<(), StorageError> {
    if version <= VERSION {
        return Ok(());
    }
    Err(StorageError::Configuration(format!(
        "the database {} has version {version}, this program knows {VERSION}: it was written by a program that is newer; \
         update this one",
        config.database
    )))
}

/// Rejects a database in which another program has a table with one of our names.
async fn check_foreign(server: &Server, config: &ClickHouseConfig) -> Result<(), StorageError> {
    let tables = &server.tables;
    for (name, column) in [("traces", "start_time"), ("events", "event_id"), ("trace_lookup", "starts_from")] {
        let local = format!("{}.{name}{}", tables.database, tables.local());
        if server.row::<u8>(&format!("EXISTS TABLE {local}")).await? == 0 {
            continue;
        }
        let columns = format!(
            "SELECT count() FROM system.columns WHERE database = {} AND table = '{name}{}' AND name = '{column}'",
            super::literal::text(&config.database),
            tables.local()
        );
        if server.row::<u64>(&columns).await? == 0 {
            return Err(StorageError::Configuration(format!(
                "the database {} holds a table {name} of another program; set `database` to another one",
                config.database
            )));
        }
    }
    Ok(())
}

async fn change_retention(server: &Server, retention_days: u32) -> Result<(), StorageError> {
    for (table, time) in EXPIRING {
        let change = match retention_days {
            0 => "REMOVE TTL".to_owned(),
            days => format!("MODIFY TTL {}", expiry(time, days)),
        };
        // The server recomputes when parts expire, without rewriting them.
        let sql = format!(
            "ALTER TABLE {} {change} SETTINGS materialize_ttl_after_modify = {}",
            server.tables.stored(table),
            u8::from(retention_days > 0)
        );
        server.execute(&sql).await?;
    }
    server.execute(&server.tables.note(VERSION, retention_days)).await
}
