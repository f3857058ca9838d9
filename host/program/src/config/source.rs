use std::fmt;
use std::path::PathBuf;

/// The variable that holds a whole configuration as JSON.
pub const CONFIG: &str = "REFLOW_TRACING_CONFIG";

/// The variable that names the configuration file.
pub const CONFIG_FILE: &str = "REFLOW_TRACING_CONFIG_FILE";

/// The files that are looked for when none is named. The first one that exists is read. They are Reflow's.
pub const FILES: [&str; 3] = ["reflow_tracing.toml", "config/reflow_tracing.toml", "/etc/reflow/tracing.toml"];

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// None was given or found.
    Defaults,
    /// A file.
    File(PathBuf),
    /// The variable [`CONFIG`].
    Variable,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => write!(f, "the defaults, because none of these files exists: {}", FILES.join(", ")),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable => write!(f, "the environment variable {CONFIG}"),
        }
    }
}
