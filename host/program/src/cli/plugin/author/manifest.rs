//! `plugin.toml`, which names the plugin in a folder that is not a package of Rust.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::language::Language;
use super::name::parse_name;
use crate::config::suggestion;

/// The file in the folder of a plugin.
pub(super) const FILE: &str = "plugin.toml";

/// The content of `plugin.toml`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The name of the plugin, and of its file.
    pub name: String,
    /// What it is written in.
    pub language: Language,
}

impl Manifest {
    /// Reads the manifest in `folder`; `None` if there is none.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text).with_context(|| file.display().to_string()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't read {}", file.display())),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let manifest: Self = toml::from_str(text)
            .map_err(|error| anyhow!("{}{}", error.to_string().trim_end(), suggestion::for_error(error.message())))?;
        parse_name(&manifest.name).map_err(|problem| anyhow!("`name` can't be {:?}: {problem}", manifest.name))?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_the_plugin_and_its_language() {
        let manifest = Manifest::parse("name = \"ledger\"\nlanguage = \"python\"\n").unwrap();
        assert_eq!(manifest, Manifest { name: "ledger".into(), language: Language::Python });
    }

    #[test]
    fn mistakes_in_a_manifest_are_named_with_what_was_meant() {
        for (text, parts) in [
            ("nmae = \"ledger\"\nlanguage = \"python\"", ["line 1", "did you mean `name`?"]),
            ("name = \"ledger\"\nlanguage = \"pyhton\"", ["line 2", "did you mean `python`?"]),
            ("name = \"ledger\"", ["missing field", "language"]),
            ("name = \"../ledger\"\nlanguage = \"python\"", ["../ledger", "lower-case letter"]),
            ("name = \"sqlite\"\nlanguage = \"python\"", ["sqlite", "built-in"]),
        ] {
            let error = format!("{:#}", Manifest::parse(text).unwrap_err());
            for part in parts {
                assert!(error.contains(part), "no {part:?} in: {error}");
            }
        }
    }
}
