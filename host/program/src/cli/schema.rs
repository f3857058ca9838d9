use clap::ValueEnum;

use super::{ConfigFile, output};

/// Print the statements that create a backend's tables, for people who create them by hand
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The backend whose tables are meant
    #[arg(long, value_name = "NAME")]
    backend: Backend,
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    /// A PostgreSQL database
    Postgres,
    /// A ClickHouse database, on one server or a cluster as configured
    #[value(name = "clickhouse")]
    ClickHouse,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let sql = match args.backend {
        Backend::Postgres => config.storage.postgres.schema_sql(),
        Backend::ClickHouse => config.storage.clickhouse.schema_sql(),
    };
    Ok(output::print(|out| out.write_all(sql.as_bytes()))?)
}
