//! The program `reflow-tracing`.

use std::process::ExitCode;

fn main() -> ExitCode {
    reflow_tracing::cli::main()
}
