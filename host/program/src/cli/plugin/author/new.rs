use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::language::{File, Language, Over};
use super::name::parse_name;
use crate::cli::output;

/// Create the folder of a new plugin that works at once
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The name of the plugin: lower-case letters, digits, `-` and `_`
    #[arg(value_parser = parse_name)]
    name: String,
    /// The language of the plugin
    #[arg(long, value_enum)]
    lang: Language,
    /// The capability to store traces in [default: sql for Rust, keyvalue for other languages]
    #[arg(long, value_enum)]
    over: Option<Over>,
    /// The folder to create [default: the name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let kit = args.lang.kit();
    let over = args.over.unwrap_or(kit.over[0]);
    if !kit.over.contains(&over) {
        let known: Vec<_> = kit.over.iter().map(|over| format!("--over {}", name_of(*over))).collect();
        bail!(
            "--over {} is not a template of --lang {}, which has {}",
            name_of(over),
            name_of(args.lang),
            known.join(", ")
        );
    }
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = args.lang.files(&args.name, over)?;
    refuse_used(&folder)?;
    for File { path, text } in files {
        write(&folder, &path, &text)?;
    }
    let (folder, name) = (folder.display(), &args.name);
    output::print(|out| {
        writeln!(out, "created the plugin `{name}` in {folder}/; its code is in {folder}/{}. Next:", kit.source)?;
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

/// The value as it is written on the command line.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_relative_link_of_a_new_plugin_leads_to_a_file() {
        for language in Language::value_variants() {
            for over in language.kit().over {
                let files = language.files("ledger", *over).unwrap();
                let paths: BTreeSet<_> = files.iter().map(|file| Path::new(&file.path)).collect();
                for file in files.iter().filter(|file| file.path.ends_with(".md")) {
                    let links = file.text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
                    for link in links.filter(|link| !link.contains(':') && !link.starts_with('#')) {
                        // None of them has a reason to leave its folder.
                        let target = Path::new(&file.path).with_file_name(link.split('#').next().unwrap_or_default());
                        assert!(paths.contains(&*target), "{link} in {} of {language:?} over {over:?}", file.path);
                    }
                }
            }
        }
    }
}
