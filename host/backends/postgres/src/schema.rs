//! Creates and checks the tables.

use reflow_tracing_storage::StorageError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row, Transaction};

use super::config::PostgresConfig;
use super::connection::{Server, quoted};
use super::layout::Layout;
use super::partition;

/// The schema version of this program.
const VERSION: i32 = 2;

/// The oldest server version that detaches partitions without blocking writers.
const OLDEST_SERVER: i32 = 140_000;

impl PostgresConfig {
    /// The statements that create the tables, for databases where the host's role must not create them. With partitioning, they
    /// include the current partition and the next one.
    pub fn schema_sql(&self) -> String {
        let schema = quoted(&self.schema_name);
        let mut sql = format!("BEGIN;\nCREATE SCHEMA IF NOT EXISTS {schema};\nSET LOCAL search_path TO {schema};\n\n");
        sql += &tables(self);
        if self.enable_partitioning {
            sql += "\n";
            for span in partition::ahead(self.partition_interval) {
                sql += &span.creation();
            }
        }
        sql + "COMMIT;\n"
    }
}

fn tables(config: &PostgresConfig) -> String {
    let (key, partitions) = match config.enable_partitioning {
        // The primary key of a partitioned table must contain the partition key.
        true => ("PRIMARY KEY (trace, occurred_at, event_id, placed_at)", " PARTITION BY RANGE (placed_at)"),
        false => ("PRIMARY KEY (trace, occurred_at, event_id)", ""),
    };
    let tables = include_str!("sql/schema.sql")
        .replace("{key}", key)
        .replace("{partitions}", partitions)
        .replace("{partitioned}", if config.enable_partitioning { "true" } else { "false" });
    let gin = match config.enable_gin_index {
        true => "\nCREATE INDEX event_by_attribute ON event USING gin (shown(attributes) jsonb_path_ops);\n",
        false => "",
    };
    let [newer, functions, views] =
        [include_str!("sql/version_2.sql"), include_str!("sql/functions.sql"), include_str!("sql/views.sql")];
    format!("{tables}\n{newer}\n{functions}\n{views}{gin}\n{LEASES}")
}

/// Hosts add these tables where they are missing. Hosts of the version before can continue.
const LEASES: &str = include_str!("sql/leases.sql");

/// What an older program left to do.
struct Missing {
    /// The tables are of version 1.
    version_2: bool,
    leases: bool,
}

impl Missing {
    async fn of(connection: &mut PgConnection) -> sqlx::Result<Option<Self>> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM schema_version WHERE version = 1), \
             to_regclass('held') IS NULL AND EXISTS (SELECT 1 FROM schema_version WHERE version IN (1, $1))",
        )
        .bind(VERSION)
        .fetch_one(connection)
        .await?;
        let missing = Self { version_2: row.try_get(0)?, leases: row.try_get(1)? };
        Ok((missing.version_2 || missing.leases).then_some(missing))
    }

    fn statements(&self) -> String {
        let mut sql = String::new();
        if self.version_2 {
            let (newer, views) = (include_str!("sql/version_2.sql"), include_str!("sql/views.sql"));
            sql += &format!("{newer}\nDROP VIEW traces;\nDROP VIEW trace_events;\n{views}\n");
        }
        if self.leases {
            sql += LEASES;
        }
        sql
    }
}

/// Whether the schema has tables of this program. Rejects a server or a database that can't hold them.
async fn exists(connection: &mut PgConnection, server: &Server) -> Result<bool, StorageError> {
    let row = sqlx::query(
        "SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer, \
         to_regclass('schema_version') IS NOT NULL",
    )
    .fetch_one(connection)
    .await
    .map_err(|error| server.describe(error))?;
    let (encoding, version, exists): (String, i32, bool) = (row.get(0), row.get(1), row.get(2));
    if encoding != "UTF8" {
        return Err(StorageError::Configuration(format!(
            "the database has the encoding {encoding}, which can't store every text; create one with UTF8: \
             createdb --encoding=UTF8 --template=template0"
        )));
    }
    if version < OLDEST_SERVER {
        return Err(StorageError::Configuration(format!(
            "the server is PostgreSQL {}; version 14 or newer is required; update the server",
            version / 10_000
        )));
    }
    Ok(exists)
}

/// The version of the tables, and whether they are partitioned.
async fn noted(
    connection: &mut PgConnection,
    server: &Server,
    config: &PostgresConfig,
) -> Result<(i32, bool), StorageError> {
    let described = |error| server.describe(error);
    let row = sqlx::query("SELECT version, partitioned FROM schema_version").fetch_optional(connection).await;
    let Some(row) = row.map_err(described)? else {
        return Err(StorageError::Configuration(format!(
            "the table schema_version in the schema {} is empty: the schema is another program's or damaged; set \
             `schema_name` to another one",
            config.schema_name
        )));
    };
    Ok((row.try_get(0).map_err(described)?, row.try_get(1).map_err(described)?))
}

/// Checks that the tables can be read, and changes nothing.
pub(super) async fn check_to_read(server: &Server, config: &PostgresConfig) -> Result<Layout, StorageError> {
    let mut connection = server.connect().await?;
    let schema = &config.schema_name;
    if !exists(&mut connection, server).await? {
        return Err(StorageError::Configuration(format!(
            "{} has no tables of this program in the schema {schema}, or the role may not use that schema. `reflow-tracing \
             serve` creates them; or set `connection_url` or `schema_name` to another one, or grant the role `USAGE` on the \
             schema",
            server.target
        )));
    }
    let (version, _) = noted(&mut connection, server, config).await?;
    let _ = connection.close().await;
    match version {
        1 => Ok(Layout::Version1),
        VERSION => Ok(Layout::Newest),
        other => Err(unknown_version(schema, other)),
    }
}

/// Creates the tables in a new schema. Rejects a schema of another version or layout.
pub(super) async fn prepare(server: &Server, config: &PostgresConfig) -> Result<(), StorageError> {
    let mut connection = server.connect().await?;
    let described = |error| server.describe(error);
    if !exists(&mut connection, server).await? {
        create(&mut connection, config).await.map_err(described)?;
    }
    let schema = &config.schema_name;
    if let Some(missing) = Missing::of(&mut connection).await.map_err(described)? {
        migrate(&mut connection, config).await.map_err(|error| match server.describe(error) {
            StorageError::Configuration(problem) => StorageError::Configuration(format!(
                "the tables in the schema {schema} are of an older version and this program's role can't change them \
                 ({problem}); let their owner run this, grant the role new tables as it has the others, then start again:\n\
                 BEGIN;\nSET LOCAL search_path TO {};\n{}COMMIT;",
                quoted(schema),
                missing.statements()
            )),
            other => other,
        })?;
    }
    let (version, partitioned) = noted(&mut connection, server, config).await?;
    let _ = connection.close().await;
    check(schema, version, partitioned, config)
}

fn unknown_version(schema: &str, version: i32) -> StorageError {
    let (age, remedy) = match version > VERSION {
        true => ("newer", "update this one"),
        false => ("older", "no release used it; set `schema_name` to another schema"),
    };
    StorageError::Configuration(format!(
        "the schema {schema} has version {version}, this program knows {VERSION}: it was written by a program that is \
         {age}; {remedy}"
    ))
}

fn check(schema: &str, version: i32, partitioned: bool, config: &PostgresConfig) -> Result<(), StorageError> {
    if version != VERSION {
        return Err(unknown_version(schema, version));
    }
    if partitioned != config.enable_partitioning {
        let (there, set) = if partitioned { ("", "true") } else { ("not ", "false") };
        return Err(StorageError::Configuration(format!(
            "the events in the schema {schema} are {there}partitioned, which can't be changed afterwards: set \
             `enable_partitioning = {set}`, or `schema_name` to a new schema and copy the traces into it"
        )));
    }
    Ok(())
}

/// Begins the transaction in which one host at a time creates or changes the tables.
async fn lock<'a>(
    connection: &'a mut PgConnection,
    config: &PostgresConfig,
) -> sqlx::Result<Transaction<'a, Postgres>> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('reflow-tracing:schema:' || $1, 0))")
        .bind(&config.schema_name)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Brings the tables of an older version to today's. Rows are not rewritten, so it takes as long with few as with many.
async fn migrate(connection: &mut PgConnection, config: &PostgresConfig) -> sqlx::Result<()> {
    let mut transaction = lock(connection, config).await?;
    // Another host may have been faster.
    if let Some(missing) = Missing::of(&mut transaction).await? {
        tracing::info!(
            schema = config.schema_name,
            "migrating the tables to version {VERSION}; an older program refuses the store afterwards, so keep a backup from \
             before if you may go back"
        );
        sqlx::raw_sql(AssertSqlSafe(missing.statements())).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Several hosts may start at the same time: the first to get the lock creates the tables.
async fn create(connection: &mut PgConnection, config: &PostgresConfig) -> sqlx::Result<()> {
    let schema = quoted(&config.schema_name);
    let mut transaction = lock(connection, config).await?;
    // `CREATE SCHEMA IF NOT EXISTS` needs a permission even if the schema exists.
    let exists: bool =
        sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL").bind(&schema).fetch_one(&mut *transaction).await?;
    if !exists {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut *transaction).await?;
    }
    let done: bool =
        sqlx::query_scalar("SELECT to_regclass('schema_version') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if !done {
        sqlx::raw_sql(AssertSqlSafe(tables(config))).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
