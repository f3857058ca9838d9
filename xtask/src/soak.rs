//! `cargo xtask soak [TIMES]`: the random tests, each with TIMES as much as in `cargo xtask test` (20 by default).

use anyhow::{Context, Result, bail};

use crate::step::step;
use crate::{process, test};

const TIMES: u32 = 20;

/// Parts of the names of the random tests: histories that are held against the oracle, hosts and writers that are killed at
/// random moments, retention by random bounds, copies from each backend to each other.
const TESTS: [&str; 5] =
    ["like_the_oracle", "however_often", "a_killed_writer", "a_dry_run_says_what_a_run_does", "to_every_other_backend"];

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    let times = match arguments {
        [] => TIMES,
        [times] => times.parse().with_context(|| format!("`{times}` is not a number of times"))?,
        [_, more, ..] => bail!("unexpected argument `{more}`"),
    };
    test::build_what_tests_start()?;
    step("soak", || {
        let mut cargo = test::for_workspace("test")?;
        cargo.args(["--tests", "--"]).args(TESTS).env("REFLOW_SOAK", times.to_string());
        process::run(&mut cargo)
    })
}
