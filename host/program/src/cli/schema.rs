use anyhow::bail;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::config_file::ConfigFile;
use super::output;
use crate::config::BuiltIn;

/// Print the SQL that creates the tables of a backend, for administrators who create them by hand
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The backend
    #[arg(long, value_name = "NAME", value_parser = with_schema())]
    backend: BuiltIn,
}

/// Accepts the names of the backends whose tables an administrator may create.
fn with_schema() -> impl TypedValueParser<Value = BuiltIn> {
    PossibleValuesParser::new([
        PossibleValue::new(BuiltIn::Postgres.name()).help("A PostgreSQL database"),
        PossibleValue::new(BuiltIn::ClickHouse.name())
            .help("A ClickHouse database, on one server or a cluster as configured"),
    ])
    .try_map(|name| BuiltIn::from_name(&name).ok_or_else(|| format!("`{name}` is not a built-in backend")))
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let storage = args.config.load()?.storage;
    let sql = match args.backend {
        BuiltIn::Postgres => storage.postgres.schema_sql(),
        BuiltIn::ClickHouse => storage.clickhouse.schema_sql(),
        backend @ (BuiltIn::Memory | BuiltIn::Sqlite) => bail!("the backend `{backend}` creates its tables by itself"),
    };
    Ok(output::print(|out| out.write_all(sql.as_bytes()))?)
}
