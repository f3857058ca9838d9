//! `cargo xtask setup`: a compiler for WebAssembly components and the servers that tests start, installed where missing.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::toolchain::{Toolchain, new_enough};
use crate::{apt, process, services};

/// For some 30 MB. Where rustup's server is not reachable, it may neither answer nor refuse.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(180);

const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    ready()?;
    services::ready()
}

/// A toolchain that builds components: what is installed, else what can be.
pub fn ready() -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::installed()? {
        println!("Plugins are built with {toolchain}.");
        return Ok(toolchain);
    }
    println!("No compiler for WebAssembly components is installed.");
    let mut failures = String::new();
    let ways = [
        Way { what: "rustup's target wasm32-wasip2", install: add_rustup_target },
        Way { what: "Debian's compiler and sources", install: install_debian_packages },
    ];
    for Way { what, install } in ways {
        println!("Trying to install {what}.");
        // A way that reports success may still have installed too little, so the look at the files decides.
        let failure = match install() {
            Ok(()) => match Toolchain::installed()? {
                Some(toolchain) => {
                    println!("Plugins are built with {toolchain}.");
                    return Ok(toolchain);
                }
                None => "installed, but not what is needed".to_string(),
            },
            Err(error) => format!("{error:#}"),
        };
        println!("That did not work: {failure}");
        failures.push_str(&format!("\n  {what}: {failure}"));
    }
    bail!(
        "no compiler for WebAssembly components, and none could be installed:{failures}\n\
         Install one of these by hand, then try again:\n  \
         rustup target add wasm32-wasip2\n  \
         rustup target add wasm32-unknown-unknown\n  \
         apt-get install {} (version {} or newer), beside a Rust from rustup, whose linker is used",
        DEBIAN_PACKAGES.join(" "),
        env!("CARGO_PKG_RUST_VERSION"),
    )
}

/// One thing to try, and its name in messages.
struct Way {
    what: &'static str,
    install: fn() -> Result<()>,
}

fn add_rustup_target() -> Result<()> {
    if !process::on_path("rustup") {
        bail!("rustup is not on the PATH");
    }
    let mut rustup = Command::new("rustup");
    process::run_within(DOWNLOAD_LIMIT, rustup.args(["target", "add", "wasm32-wasip2"]).stdin(Stdio::null()))
}

fn install_debian_packages() -> Result<()> {
    apt::install(&DEBIAN_PACKAGES, new_enough)
}
