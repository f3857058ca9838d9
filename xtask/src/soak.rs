//! `cargo xtask soak [TIMES]`: the random tests, each with TIMES as much as in `cargo xtask test` (20 by default), and tests that take
//! long: with a client of registries that is built first, and of all templates in all languages.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::step;
use crate::{language, process, test, workspace};

const TIMES: u32 = 20;

/// Parts of the names of the random tests: histories that are held against the oracle, hosts and writers that are killed at
/// random moments, retention by random bounds, copies from each backend to each other. `wkg_` are those with that client.
const TESTS: [&str; 6] = [
    "like_the_oracle",
    "however_often",
    "a_killed_writer",
    "a_dry_run_says_what_a_run_does",
    "to_every_other_backend",
    "wkg_",
];
const WKG: &str = "0.16.1";

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    let times = match arguments {
        [] => TIMES,
        [times] => times.parse().with_context(|| format!("`{times}` is not a number of times"))?,
        [_, more, ..] => bail!("unexpected argument `{more}`"),
    };
    test::build_what_tests_start()?;
    let tools = std::path::absolute(workspace::target().join("tools/wkg")).context("the workspace is gone")?;
    step("wkg", || {
        let mut install = Command::new("cargo");
        install.args(["install", "wkg", "--version", WKG, "--locked", "--debug", "--root"]).arg(&tools);
        process::run(&mut install)
    })?;
    step("soak", || {
        let mut cargo = test::for_workspace("test")?;
        let present = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([tools.join("bin")].into_iter().chain(std::env::split_paths(&present)))?;
        cargo.args(["--tests", "--", "--include-ignored"]).args(TESTS);
        cargo.env("REFLOW_SOAK", times.to_string()).env("PATH", path);
        process::run(&mut cargo)
    })?;
    // What new plugins can be written over, in the languages whose components take long to compile.
    let arguments = |arguments: &[&str]| arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    let (languages, _) = language::chosen(&arguments(&["--lang", "all"]))?.context("there are languages")?;
    language::test(&languages, &arguments(&["--", "--", "--include-ignored", "the_template_over"]))
}
