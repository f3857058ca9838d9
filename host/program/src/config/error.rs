//! Errors of loading the configuration and of opening the store.

use std::io;
use std::path::{Path, PathBuf};

use reflow_tracing::storage::StorageError;

use super::backend::BuiltIn;
use super::source::Source;
use super::suggestion;

/// Why the configuration can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration file `{}`: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// The file is not a valid configuration.
    #[error("{origin}: {problem}")]
    Invalid { origin: Source, problem: String },
    /// A number is out of its range.
    #[error("{origin}: in `[{table}]`: {problem}")]
    OutOfRange { origin: Source, table: String, problem: String },
    /// The variable with the configuration is not JSON.
    #[error("{origin}: {problem}")]
    NotJson { origin: Source, problem: String },
    /// The value of a variable is invalid.
    #[error("the environment variable {name} is {value:?}; expected {expected}")]
    InvalidVariable { name: &'static str, value: String, expected: &'static str },
    /// The value of a variable is not text.
    #[error("the environment variable {name} is not valid UTF-8")]
    VariableNotUtf8 { name: &'static str },
    /// A variable has the program's prefix, but not a known name.
    #[error("the environment variable {name} is unknown; the known ones are {}{}", known.join(", "), suggestion::question(name, known.iter().copied()))]
    UnknownVariable { name: String, known: Vec<&'static str> },
}

/// Why the configured store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The backend is not built in, and there is no plugin with its name.
    #[error(
        "unknown backend `{name}`: {}, or choose another `backend` in `[storage]`{}",
        missing(name, file, folder, found),
        suggestion::question(name, names(found))
    )]
    NoSuchBackend { name: String, file: PathBuf, folder: PathBuf, found: Vec<String> },
    /// The name is not valid for a backend.
    #[error("`backend` in `[storage]` can't be {name:?}: {problem}")]
    InvalidName { name: String, problem: &'static str },
    /// A backend of `also` can't be used.
    #[error("{place}: `also` in `[storage]` names `{name}`: {problem}")]
    Also { place: String, name: String, problem: String },
    /// The backend does not support a configured setting.
    #[error("{0}")]
    Unsuitable(String),
    /// The backend failed to open.
    #[error("can't open the backend `{name}`: {error}")]
    Backend { name: String, error: StorageError },
}

impl OpenError {
    /// The same error about a name in `also`.
    pub(super) fn as_entry_of_also(&self) -> String {
        match self {
            Self::NoSuchBackend { name, file, folder, found } => {
                let question = suggestion::question(name, names(found));
                format!("{}, or remove the name{question}", missing(name, file, folder, found))
            }
            Self::InvalidName { problem, .. } => (*problem).to_owned(),
            other => other.to_string(),
        }
    }
}

fn missing(name: &str, file: &Path, folder: &Path, found: &[String]) -> String {
    format!(
        "it is not a built-in one ({}), and the plugin file `{}` does not exist{}. Put the plugin there, set its file with `file` in \
         `[plugins.{name}]`",
        BuiltIn::names().join(", "),
        file.display(),
        describe(folder, found)
    )
}

fn describe(folder: &Path, found: &[String]) -> String {
    match found {
        [] => format!(" (`{}` holds no .wasm file)", folder.display()),
        found => format!(" (`{}` holds {})", folder.display(), found.join(", ")),
    }
}

/// The backends: those that are built in, and the plugins that were found.
fn names(found: &[String]) -> impl Iterator<Item = &str> {
    BuiltIn::names().into_iter().chain(found.iter().map(|file| file.trim_end_matches(".wasm")))
}
