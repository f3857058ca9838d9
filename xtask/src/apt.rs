//! Installs packages of Debian and similar systems, without questions.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process;

/// Installs `packages`, provided that apt knows each in a version that `suits`.
pub fn install(packages: &[&str], suits: impl Fn(&str) -> bool) -> Result<()> {
    if !process::on_path("apt-get") {
        bail!("this is not a Debian-like system: apt-get is missing");
    }
    if !known(packages, &suits)? {
        process::run(&mut apt_get(&["update"])?)?;
        if !known(packages, &suits)? {
            bail!("apt offers no suitable version of {}", packages.join(" and "));
        }
    }
    let install = || {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(packages);
        process::run(&mut apt_get(&arguments)?)
    };
    if install().is_err() {
        // The usual cause is a list that names a version which the archive has replaced since.
        process::run(&mut apt_get(&["update"])?)?;
        install()?;
    }
    Ok(())
}

/// Whether apt would install every package in a version that `suits`.
fn known(packages: &[&str], suits: impl Fn(&str) -> bool) -> Result<bool> {
    let text = process::output(Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C"))?;
    Ok(candidates(&text).filter(|version| suits(version)).count() == packages.len())
}

fn candidates(policy: &str) -> impl Iterator<Item = &str> {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate: ")).filter(|version| *version != "(none)")
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
        false => bail!("installing packages needs root, and sudo is missing"),
    };
    // The tests start the servers themselves: in runlevel 1, the packages start none. The timeout is for another apt-get,
    // such as the one at boot.
    command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-o", "DPkg::Lock::Timeout=120"]);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn candidates_are_read_from_the_output_of_apt() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n\
                      rust-web-src:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy).collect::<Vec<_>>(), ["1.96.0+dfsg1-1~deb12u2"]);
    }
}
