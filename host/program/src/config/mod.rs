//! The operator's configuration: a TOML file, and environment variables that override it.
//!
//! Nothing is guessed. An unknown setting, an invalid value or an unknown `REFLOW_TRACING_` variable is an error that names
//! the file and line, or the variable. The settings of Reflow's own server are known.

mod also;
mod backend;
mod clickhouse_url;
mod duration;
mod environment;
mod error;
mod inline_json;
mod layers;
mod load;
mod metrics;
mod open;
mod plugins;
mod ranges;
mod reflow_names;
mod server;
mod settings;
mod shown;
mod source;
mod storage_url;
pub(crate) mod suggestion;
mod without_effect;

pub use backend::{Backend, BuiltIn};
pub(crate) use duration::parse_duration;
pub use load::Loaded;
pub(crate) use open::plugin_file;
pub use open::{OpenStorage, open_host_storage, open_storage, open_storage_to_read};
pub(crate) use plugins::{PluginsConfig, check_name, check_signed};
pub use server::{AllowedHost, AllowedOrigin, HostName, ServerConfig};
pub use settings::{Config, RetentionConfig, StorageConfig};
pub use storage_url::StorageUrl;
