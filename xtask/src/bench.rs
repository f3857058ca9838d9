//! `cargo xtask bench [FILTER] [--quick]`: how fast each path is beside the least that it would have to do.

use anyhow::Result;

use crate::workspace::cargo;
use crate::{plugins, process, setup};

/// The command. The arguments are the benchmark program's, which checks them.
pub fn main(arguments: &[String]) -> Result<()> {
    plugins::build_all(&setup::ready()?)?;
    // With `--workspace`, as `cargo xtask test` says why. The benchmarks start the host's binary.
    process::run(&mut cargo(["build", "--release", "--workspace", "--bin", "reflow-tracing"]))?;
    process::run(cargo(["bench", "--workspace", "--bench", "bench", "--"]).args(arguments))
}
