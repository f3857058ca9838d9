//! `cargo xtask bench [FILTER] [--quick]`: how fast each path is beside the least that it would have to do.

use anyhow::Result;

use crate::{plugins, process, setup, test};

/// The command. The arguments are the benchmark program's, which checks them.
pub fn main(arguments: &[String]) -> Result<()> {
    plugins::build_all(&setup::ready()?)?;
    // The benchmarks start the host's binary.
    process::run(test::for_workspace("build")?.args(["--release", "--bin", "reflow-tracing"]))?;
    process::run(test::for_workspace("bench")?.args(["--bench", "bench", "--"]).args(arguments))
}
