//! Plugins in languages other than Rust: `--lang` of `setup`, `plugins` and `test`. One file a language.

mod c;
mod go;
mod javascript;
mod python;
mod toolset;
mod venv;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::step::step;
use crate::test::{build_host, for_cargo_test, for_workspace};
use crate::workspace;
pub use toolset::Toolset;

const LANGUAGES: &[Toolset] = &[python::TOOLSET, javascript::TOOLSET, c::TOOLSET, go::TOOLSET];

/// Takes `--lang NAME[,NAME]` or `--lang all` off the front of the arguments; the rest follows it.
pub fn chosen(arguments: &[String]) -> Result<Option<(Vec<&'static Toolset>, &[String])>> {
    let Some((first, rest)) = arguments.split_first() else {
        return Ok(None);
    };
    let (value, rest) = match first.strip_prefix("--lang") {
        Some("") => {
            let (value, rest) = rest.split_first().with_context(|| format!("--lang needs a value: {}", known()))?;
            (value.as_str(), rest)
        }
        Some(value) if value.starts_with('=') => (&value[1..], rest),
        _ => return Ok(None),
    };
    if value == "all" {
        return Ok(Some((LANGUAGES.iter().collect(), rest)));
    }
    let named = |name| {
        let found = LANGUAGES.iter().find(|language| language.name == name);
        found.with_context(|| format!("there are no tools for the language `{name}`; there are: {}", known()))
    };
    Ok(Some((value.split(',').map(named).collect::<Result<_>>()?, rest)))
}

fn known() -> String {
    let names: Vec<_> = LANGUAGES.iter().map(|language| language.name).chain(["all"]).collect();
    names.join(", ")
}

/// `cargo xtask setup --lang ..`: installs the tools, and says what to put on the PATH.
pub fn setup(languages: &[&Toolset], arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    let folders = ready(languages)?;
    println!("\nTo build plugins by hand, put the tools on the PATH:");
    let root = std::env::current_dir().context("the workspace is gone")?;
    let folders: Vec<_> = folders.iter().map(|folder| root.join(folder).display().to_string()).collect();
    println!("  export PATH=\"{}:$PATH\"", folders.join(":"));
    Ok(())
}

/// `cargo xtask plugins --lang ..`: builds the plugins, as their authors do.
pub fn plugins(languages: &[&Toolset], arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    let folders = step("setup", || ready(languages))?;
    step("host", build_host)?;
    step("plugins", || build(languages, &path_with(&folders)?))
}

/// `cargo xtask test --lang ..`: the plugins, the SDKs, and the path of an author from nothing to a running plugin. Arguments after
/// `--` go to `cargo test`.
pub fn test(languages: &[&Toolset], arguments: &[String]) -> Result<()> {
    let for_tests = for_cargo_test(arguments)?;
    let start = Instant::now();
    let folders = step("setup", || ready(languages))?;
    let path = path_with(&folders)?;
    step("host", build_host)?;
    step("plugins", || build(languages, &path))?;
    for language in languages {
        step(&format!("SDK for {}", language.name), || (language.test_sdk)(&path))?;
    }
    step("test", || {
        let mut test = for_workspace("test")?;
        test.args(["--test", "languages"]);
        match for_tests {
            // The tests of a language are in a module of its name.
            [] => test.arg("--").args(languages.iter().map(|language| format!("{}::", language.name))),
            chosen => test.args(chosen),
        };
        process::run(test.env("PATH", &path))
    })?;
    println!("\nAll passed in {} s.", start.elapsed().as_secs());
    Ok(())
}

fn ready(languages: &[&Toolset]) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for language in languages {
        folders.extend((language.setup)(&tools(language.name))?);
    }
    Ok(folders)
}

/// The folder of a language's tools.
fn tools(name: &str) -> PathBuf {
    workspace::target().join("tools").join(name)
}

fn path_with(folders: &[PathBuf]) -> Result<OsString> {
    let root = std::env::current_dir().context("the workspace is gone")?;
    let present = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(|folder| root.join(folder));
    std::env::join_paths(folders.chain(std::env::split_paths(&present)))
        .context("a folder has a name that PATH can't hold")
}

fn build(languages: &[&Toolset], path: &OsString) -> Result<()> {
    for name in languages.iter().flat_map(|language| language.plugins) {
        let source = format!("plugins/{name}");
        if !Path::new(&source).is_dir() {
            bail!("{source} is missing");
        }
        let output = format!("{source}.wasm");
        let mut host = Command::new(workspace::host_binary());
        process::run(host.args(["plugin", "build", &source, "--output", &output]).env("PATH", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Option<Vec<&'static str>>> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(chosen(&arguments)?.map(|(languages, _)| languages.iter().map(|language| language.name).collect()))
    }

    #[test]
    fn languages_are_chosen_by_name() {
        assert_eq!(names(&["--lang", "python"]).unwrap(), Some(vec!["python"]));
        assert_eq!(names(&["--lang=python", "--", "x"]).unwrap(), Some(vec!["python"]));
        assert!(names(&["--lang", "all"]).unwrap().unwrap().contains(&"python"));
        assert_eq!(names(&["redis"]).unwrap(), None);
        for wrong in [&["--lang"][..], &["--lang", "cobol"], &["--lang", "python,"]] {
            let error = format!("{:#}", names(wrong).unwrap_err());
            assert!(error.contains("python, "), "{error}");
        }
    }
}
