//! The servers that tests start: installed when they are missing.

use anyhow::{Result, bail};

use crate::{apt, process};

/// A program that tests start, and Debian's package of it.
struct Service {
    program: &'static str,
    package: &'static str,
}

const SERVICES: &[Service] = &[Service { program: "redis-server", package: "redis-server" }];

/// Every service is there: what was installed, else what can be.
pub fn ready() -> Result<()> {
    for Service { program, package } in SERVICES {
        if process::on_path(program) {
            println!("Tests start {program}, which is installed.");
            continue;
        }
        println!("The tests need {program}; trying to install it.");
        if let Err(error) = apt::install(&[package], |_| true) {
            bail!(
                "{program} is missing, and could not be installed: {error:#}\nInstall it by hand, then try again:\n  apt-get install {package}"
            );
        }
        if !process::on_path(program) {
            bail!("the package {package} was installed, but {program} is not on the PATH");
        }
    }
    Ok(())
}
