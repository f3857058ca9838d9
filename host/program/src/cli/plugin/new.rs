use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::template::{self, File};
use crate::cli::output;
use crate::config::BuiltIn;
use reflow_tracing::plugin::wit;

/// Create the folder of a new plugin that works at once: it stores traces in a SQLite database
#[derive(clap::Args)]
pub(super) struct Args {
    /// The name of the plugin: lower-case letters, digits, `-` and `_`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The language of the plugin
    #[arg(long, value_enum)]
    lang: Language,
    /// The folder to create [default: the name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    Rust,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Language::Rust = args.lang;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    refuse_used(&folder)?;
    for File { path, text } in template::TEMPLATE {
        let text = text
            .replace("{{name}}", &args.name)
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{contract}}", wit::version());
        write(&folder, path, &text)?;
    }
    for File { path, text } in template::COPIES {
        write(&folder, path, text)?;
    }
    for (path, text) in template::contract() {
        write(&folder, &path, text)?;
    }
    let (folder, name) = (folder.display(), &args.name);
    output::print(|out| {
        writeln!(out, "created the plugin `{name}` in {folder}/; its code is in {folder}/src/lib.rs. Next:")?;
        writeln!(out, "  reflow-tracing plugin build {folder}")?;
        writeln!(out, "  reflow-tracing plugin test plugins/{name}.wasm")
    })?;
    Ok(())
}

fn write(folder: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let file = folder.join(path);
    let parent = file.parent().unwrap_or(folder);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&file, text))
        .with_context(|| format!("can't write {}", file.display()))
}

/// Fails when `folder` holds anything, so that nothing is overwritten.
fn refuse_used(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("the folder {} is not empty; choose another one with --path", folder.display()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("can't create the folder {}", folder.display())),
    }
}

/// The name must be valid for a crate, a file and a backend.
fn parse_name(name: &str) -> Result<String, String> {
    // Names that rustc refuses for a crate, or cargo for a package.
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    // Crates of Rust, and those that a plugin depends on.
    const CRATES: &[&str] = &[
        "core",
        "proc-macro",
        "proc_macro",
        "reflow-tracing-plugin",
        "reflow_tracing_plugin",
        "std",
        "test",
        "wit-bindgen",
        "wit_bindgen",
    ];
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) || name.len() > 64 {
        Err("expected a lower-case letter, then up to 63 of a-z, 0-9, `-` and `_`".into())
    } else if BuiltIn::from_name(name).is_some() {
        Err("it is a built-in backend".into())
    } else if ["dir", "cache_dir", "reload", "max_connections"].contains(&name) {
        Err("it is a setting of [plugins] in the configuration".into())
    } else if KEYWORDS.contains(&name) || CRATES.contains(&name) {
        Err("the name is reserved: Rust does not allow it for a crate, or the plugin depends on a crate with this name"
            .into())
    } else {
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_crate_cannot_have_are_refused() {
        for name in
            ["", "9lives", "Ledger", "a/b", "..", "a b", "memory", "sqlite", "dir", "test", "async", "l\u{e4}dger"]
        {
            assert!(parse_name(name).is_err(), "{name}");
        }
        for name in ["ledger", "my-store_2"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
    }
}
