//! The servers and tools that tests start, installed where missing.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{apt, clickhouse, process};

/// A program that `cargo xtask` or the tests start, and its Debian package.
struct Service {
    program: &'static str,
    package: &'static str,
    /// Debian's folder for it, if that is not on every user's PATH. A part of it may be a version, written `*`.
    folder: &'static str,
}

/// A program on the PATH.
const fn tool(program: &'static str, package: &'static str) -> Service {
    Service { program, package, folder: "/usr/bin" }
}

/// Small systems, such as containers, lack even some of the tools.
const SERVICES: &[Service] = &[
    tool("redis-server", "redis-server"),
    Service { program: "postgres", package: "postgresql", folder: "/usr/lib/postgresql/*/bin" },
    Service { program: "mariadbd", package: "mariadb-server", folder: "/usr/sbin" },
    Service { program: "pgbouncer", package: "pgbouncer", folder: "/usr/sbin" },
    // Plugins are published there.
    tool("docker-registry", "docker-registry"),
    // Certificates for tests of TLS.
    tool("openssl", "openssl"),
    // Full disks, and signals to servers.
    tool("mount", "mount"),
    tool("umount", "mount"),
    tool("kill", "procps"),
    // ClickHouse is fetched with npm and runs in Python.
    tool("python3", "python3"),
    tool("npm", "npm"),
    tool("tar", "tar"),
    tool("bash", "bash"),
    tool("sha256sum", "coreutils"),
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

/// Installs the missing programs, and fetches ClickHouse.
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
