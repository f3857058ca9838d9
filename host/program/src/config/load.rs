//! Reading the configuration file and the environment.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use super::environment;
use super::error::ConfigError;
use super::inline_json;
use super::reflow_names::ReflowNames;
use super::settings::Config;
use super::shown;
use super::source::{CONFIG, CONFIG_FILE, FILES, Source};

/// A configuration, and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where it comes from; variables may override parts of it.
    pub source: Source,
    /// Settings without effect, and what replaces them.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the file at `path`, else the variable or file that the environment names, else the first of [`FILES`] that exists.
    /// Then it applies the other variables.
    pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigError> {
        Self::load_with(path, std::env::vars_os())
    }

    /// Like [`load`](Self::load), with these environment variables.
    pub fn load_with(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let variable = |name| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let mut loaded = match (path, variable(CONFIG), variable(CONFIG_FILE)) {
            (Some(path), _, _) => Self::read(path)?,
            (None, Some(json), _) => Self::read_json(&json.to_string_lossy())?,
            (None, None, Some(path)) => Self::read(Path::new(path))?,
            (None, None, None) => Self::read_first(&FILES)?,
        };
        loaded.warnings.extend(environment::apply(&mut loaded.config, variables)?);
        match loaded.config.number_out_of_range() {
            Some((table, problem)) => Err(ConfigError::OutOfRange { origin: loaded.source, table, problem }),
            None => Ok(loaded),
        }
    }

    fn read_first(files: &[&str]) -> Result<Loaded, ConfigError> {
        for file in files {
            match Self::read(Path::new(file)) {
                Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Ok(Loaded { config: Self::default(), source: Source::Defaults, warnings: Vec::new() })
    }

    fn read(path: &Path) -> Result<Loaded, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text, Source::File(path.to_owned()))
    }

    fn read_json(json: &str) -> Result<Loaded, ConfigError> {
        let source = Source::Variable;
        match inline_json::to_toml(json) {
            Ok(toml) => Self::parse(&toml, source),
            Err(problem) => Err(ConfigError::NotJson { origin: source, problem }),
        }
    }

    fn parse(toml: &str, source: Source) -> Result<Loaded, ConfigError> {
        let parsed = DeTable::parse(toml).and_then(|mut document| {
            let names = ReflowNames::take(document.get_mut())?;
            let mut config = Self::deserialize(Deserializer::from(document))?;
            for also in &mut config.storage.also {
                let line = toml[..also.span.start].matches('\n').count() + 1;
                also.place = format!("{source}, line {line}");
            }
            let warnings = names.apply(&mut config);
            Ok((config, warnings))
        });
        match parsed {
            Ok((config, warnings)) => Ok(Loaded { config, source, warnings }),
            Err(error) => Err(ConfigError::Invalid { origin: source, problem: shown::error(toml, &error) }),
        }
    }
}

#[cfg(test)]
mod tests;
