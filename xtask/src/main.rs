//! What developers run: `cargo xtask COMMAND`. A command is one file and one line of [`COMMANDS`].

mod apt;
mod bench;
mod cargo_deny;
mod check;
mod clickhouse;
mod language;
mod plugins;
mod process;
mod run;
mod services;
mod setup;
mod soak;
mod step;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use language::Toolset;

/// A command: its name, what `help` says of it, and what it does with the arguments that follow its name.
struct Command {
    name: &'static str,
    summary: &'static str,
    main: fn(&[String]) -> Result<()>,
    /// What it does instead with `--lang`, and the arguments that follow.
    in_languages: Option<InLanguages>,
}

type InLanguages = fn(&[&Toolset], &[String]) -> Result<()>;

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        summary: "make this machine ready to build plugins in Rust, and to test; or to build plugins in LANG",
        main: setup::main,
        in_languages: Some(language::setup),
    },
    Command {
        name: "plugins",
        summary: "build the plugins in Rust, or only those NAMEd: plugins/NAME.wasm; or those in LANG",
        main: plugins::main,
        in_languages: Some(language::plugins),
    },
    Command {
        name: "test",
        summary: "build the plugins and the host, and run every test but those of LANG; or only those. Arguments after `--` go to \
                  `cargo test`",
        main: test::main,
        in_languages: Some(language::test),
    },
    Command {
        name: "check",
        summary: "format, clippy, documentation, each feature alone, packages, licences and duplicates",
        main: check::main,
        in_languages: None,
    },
    Command {
        name: "soak",
        summary: "the random tests, 20 TIMES as long as in `test`",
        main: soak::main,
        in_languages: None,
    },
    Command {
        name: "run",
        summary: "the host at work: store a recorded Reflow session in a plugin, query it",
        main: run::main,
        in_languages: None,
    },
    Command {
        name: "bench",
        summary: "measure every path beside its floor, or those with FILTER in their name; --quick for fewer rows",
        main: bench::main,
        in_languages: None,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", usage());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", usage());
        return Ok(());
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("there is no command `{name}`\n{}", usage());
    };
    let root = workspace::root();
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter the workspace {}", root.display()))?;
    if let Some(in_languages) = command.in_languages
        && let Some((languages, rest)) = language::chosen(rest)?
    {
        return in_languages(&languages, rest);
    }
    (command.main)(rest)
}

fn usage() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND\n");
    for Command { name, summary, .. } in COMMANDS {
        text.push_str(&format!("  {name:<8} {summary}\n"));
    }
    text.push_str(
        "`setup`, `plugins` and `test` take `--lang LANG[,LANG]` or `--lang all`, for plugins in other languages.\n",
    );
    text
}

/// For a command that takes no arguments.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => bail!("unexpected argument `{argument}`\n{}", usage()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_an_error_that_lists_the_commands() {
        let error = dispatch(&["tset".to_string()]).unwrap_err().to_string();
        assert!(error.contains("`tset`"), "{error}");
        for command in COMMANDS {
            assert!(error.contains(command.name), "{error}");
        }
    }
}
