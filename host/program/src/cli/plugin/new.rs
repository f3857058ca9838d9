use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::template::{self, File};
use crate::cli::output;
use crate::config::BUILT_IN;
use reflow_tracing::plugin::wit;

/// Make the folder of a new plugin, which works as it is: traces in a SQLite database
#[derive(clap::Args)]
pub(super) struct Args {
    /// The name of the plugin: lower-case letters, digits, `-` and `_`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The language to write it in
    #[arg(long, value_enum)]
    lang: Language,
    /// The folder to make [default: the name]
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
        writeln!(out, "{folder}/ is the plugin `{name}`; start with {folder}/src/lib.rs. Next:")?;
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

/// What is there already is not written over.
fn refuse_used(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("the folder {} is not empty; name another one with --path", folder.display()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("can't make the folder {}", folder.display())),
    }
}

/// The name becomes that of a crate, of a file and of a backend.
fn parse_name(name: &str) -> Result<String, String> {
    // What rustc refuses as the name of a crate, or cargo as that of a package, among names of this form.
    const TAKEN: &[&str] = &[
        "abstract",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "const",
        "continue",
        "core",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc-macro",
        "proc_macro",
        "pub",
        "ref",
        "reflow-tracing-plugin",
        "reflow_tracing_plugin",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "wit-bindgen",
        "wit_bindgen",
        "yield",
    ];
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) || name.len() > 64 {
        Err("it begins with a lower-case letter and has at most 64 of a-z, 0-9, `-` and `_`".into())
    } else if BUILT_IN.contains(&name) {
        Err("that is a built-in backend".into())
    } else if ["dir", "cache_dir", "reload", "max_connections"].contains(&name) {
        Err("that is a setting of [plugins] in the configuration".into())
    } else if TAKEN.contains(&name) {
        Err("that name is taken: a crate can't be named so, or the plugin uses the crate of that name".into())
    } else {
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_crate_can_have_are_refused() {
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
