//! The servers that tests start: installed when they are missing.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{apt, clickhouse, process};

/// A program that tests start, and Debian's package of it.
struct Service {
    program: &'static str,
    package: &'static str,
    /// Where Debian keeps it: a part of the path may be a version, written `*`.
    folder: &'static str,
}

const SERVICES: &[Service] = &[
    Service { program: "redis-server", package: "redis-server", folder: "/usr/bin" },
    Service { program: "postgres", package: "postgresql", folder: "/usr/lib/postgresql/*/bin" },
    Service { program: "mariadbd", package: "mariadb-server", folder: "/usr/sbin" },
];

impl Service {
    fn is_installed(&self) -> bool {
        let Self { program, folder, .. } = self;
        process::on_path(program)
            || match folder.split_once("/*/") {
                None => Path::new(folder).join(program).exists(),
                Some((before, after)) => fs::read_dir(before).is_ok_and(|mut versions| {
                    versions.any(|version| version.is_ok_and(|it| it.path().join(after).join(program).exists()))
                }),
            }
    }
}

/// Every service is there: what was installed, else what can be.
pub fn ready() -> Result<()> {
    for service in SERVICES {
        let Service { program, package, folder } = service;
        if service.is_installed() {
            println!("Tests start {program}, which is installed.");
            continue;
        }
        println!("The tests need {program}; trying to install it.");
        if let Err(error) = apt::install(&[package], |_| true) {
            bail!(
                "{program} is missing, and could not be installed: {error:#}\nInstall it by hand, then try again:\n  apt-get install {package}"
            );
        }
        if !service.is_installed() {
            bail!("the package {package} was installed, but {program} is neither on the PATH nor in {folder}");
        }
    }
    clickhouse::ready()
}
