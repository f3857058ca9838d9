//! The languages that plugins are written in, one file a language: what `plugin new` writes, and how `plugin build` compiles it.

mod bindings;
pub(super) mod c;
pub(super) mod go;
mod javascript;
mod kit;
mod links;
mod python;
pub(super) mod rust;
mod tool;

use clap::ValueEnum;
use serde::Deserialize;

pub(super) use kit::{File, Kit, Over};

/// A language, by the name that `--lang` and `plugin.toml` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    Rust,
    Python,
    C,
    Go,
    #[value(name = "javascript")]
    JavaScript,
    #[value(name = "typescript")]
    TypeScript,
}

impl Language {
    /// What this program knows about it.
    pub(super) fn kit(self) -> &'static Kit {
        match self {
            Self::Rust => &rust::KIT,
            Self::Python => &python::KIT,
            Self::C => &c::KIT,
            Self::Go => &go::KIT,
            Self::JavaScript => &javascript::JAVASCRIPT,
            Self::TypeScript => &javascript::TYPESCRIPT,
        }
    }
    /// The files of a new plugin with this name over this capability. Fails if the language does not allow the name.
    pub(super) fn files(self, name: &str, over: Over) -> anyhow::Result<Vec<File>> {
        Ok(links::resolved((self.kit().files)(name, over)?))
    }
}
