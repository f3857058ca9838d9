//! What developers run: `cargo xtask COMMAND`. A command is one file and one line of [`COMMANDS`].

mod apt;
mod bench;
mod cargo_deny;
mod check;
mod clickhouse;
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

/// A command: its name, what `help` says of it, and what it does with the arguments that follow its name.
struct Command {
    name: &'static str,
    summary: &'static str,
    main: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        summary: "make this machine ready to build plugins written in Rust, and to test",
        main: setup::main,
    },
    Command {
        name: "plugins",
        summary: "build the plugins, or only those NAMEd: plugins/NAME.wasm",
        main: plugins::main,
    },
    Command {
        name: "test",
        summary: "build the plugins and the host, and run every test; arguments after `--` go to `cargo test`",
        main: test::main,
    },
    Command {
        name: "check",
        summary: "format, clippy, documentation, each feature alone, packages, licences and duplicates",
        main: check::main,
    },
    Command { name: "soak", summary: "the random tests, 20 TIMES as long as in `test`", main: soak::main },
    Command {
        name: "run",
        summary: "the host at work: store a recorded Reflow session in a plugin, query it",
        main: run::main,
    },
    Command {
        name: "bench",
        summary: "measure every path beside its floor, or those with FILTER in their name; --quick for fewer rows",
        main: bench::main,
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
    (command.main)(rest)
}

fn usage() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND\n");
    for Command { name, summary, .. } in COMMANDS {
        text.push_str(&format!("  {name:<8} {summary}\n"));
    }
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
