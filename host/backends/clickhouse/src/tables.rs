//! The names of the tables in statements.

use super::config::ClickHouseConfig;

/// The quoted names of the tables.
pub(super) struct Tables {
    pub database_name: String,
    pub database: String,
    pub traces: String,
    pub events: String,
    pub lookup: String,
    pub metrics: String,
    pub leases: String,
    pub held: String,
    pub schema_version: String,
    pub cluster: Option<String>,
}

impl Tables {
    pub(super) fn new(config: &ClickHouseConfig) -> Self {
        let database = quoted(&config.database);
        let table = |name: &str| format!("{database}.{name}");
        Self {
            traces: table("traces"),
            events: table("events"),
            lookup: table("trace_lookup"),
            metrics: table("event_metrics"),
            leases: table("leases"),
            held: table("held"),
            schema_version: table("schema_version"),
            cluster: config.cluster.as_deref().map(quoted),
            database_name: config.database.clone(),
            database,
        }
    }

    /// Lets statements read the tables of version 1 like those of version 2. What version 2 added is absent.
    pub(super) fn read_version_1(&mut self) {
        self.traces = format!("(SELECT *, '' AS more FROM {})", self.traces);
        self.events = format!("(SELECT *, toUInt8(0) AS unmeasured, '' AS more FROM {})", self.events);
    }

    /// The table that stores the rows, for statements that run on the whole cluster: `TABLE ON CLUSTER CLUSTER`.
    pub(super) fn stored(&self, name: &str) -> String {
        format!("{}.{name}{}{}", self.database, self.local(), self.on_cluster())
    }

    /// The system table `name` of all servers that store rows.
    pub(super) fn system(&self, name: &str) -> String {
        match &self.cluster {
            Some(cluster) => format!("cluster({cluster}, system.{name})"),
            None => format!("system.{name}"),
        }
    }

    pub(super) fn local(&self) -> &'static str {
        if self.cluster.is_some() { "_local" } else { "" }
    }

    pub(super) fn on_cluster(&self) -> String {
        self.cluster.as_ref().map_or_else(String::new, |cluster| format!(" ON CLUSTER {cluster}"))
    }
}

/// `name` as a quoted SQL identifier.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
