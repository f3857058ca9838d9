//! `cargo xtask setup`: a compiler for WebAssembly components, installed when there is none.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;
use crate::toolchain::{Toolchain, new_enough};

/// For some 30 MB. Where rustup's server is not reachable, it may neither answer nor refuse.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(180);

const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    ready()?;
    Ok(())
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
    if !process::on_path("apt-get") {
        bail!("this is no Debian-like system (no apt-get)");
    }
    if !packages_known()? {
        process::run(&mut apt_get(&["update"])?)?;
        if !packages_known()? {
            bail!("apt knows no {} of a version that is new enough", DEBIAN_PACKAGES.join(" and "));
        }
    }
    let install = || {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(DEBIAN_PACKAGES);
        process::run(&mut apt_get(&arguments)?)
    };
    if install().is_err() {
        // The usual cause is a list that names a version which the archive has replaced since.
        process::run(&mut apt_get(&["update"])?)?;
        install()?;
    }
    Ok(())
}

/// Whether apt would install both packages in a version that is new enough.
fn packages_known() -> Result<bool> {
    let text = process::output(Command::new("apt-cache").arg("policy").args(DEBIAN_PACKAGES).env("LC_ALL", "C"))?;
    Ok(candidates(&text).filter(|version| new_enough(version)).count() == DEBIAN_PACKAGES.len())
}

fn candidates(policy: &str) -> impl Iterator<Item = &str> {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate: "))
}

/// apt-get as root, asking nothing.
fn apt_get(arguments: &[&str]) -> Result<Command> {
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = match root {
        true => Command::new("env"),
        false if process::on_path("sudo") => {
            let mut sudo = Command::new("sudo");
            sudo.arg("env");
            sudo
        }
        false => bail!("installing packages takes root, and there is no sudo"),
    };
    // Another apt-get, such as the one that runs at boot, is waited for.
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn candidates_are_read_from_what_apt_says() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n\
                      rust-web-src:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy).collect::<Vec<_>>(), ["1.96.0+dfsg1-1~deb12u2", "(none)"]);
    }
}
