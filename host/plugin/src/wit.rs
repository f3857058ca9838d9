//! The contract: the files of `wit/` that this program was built with.

/// A package of the contract.
pub struct Package {
    /// Its name after `reflow:`, and its folder among the dependencies of a plugin.
    pub name: &'static str,
    /// File names and contents.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! package {
    ($name:literal in $folder:literal: $($file:literal),+ $(,)?) => {
        Package {
            name: $name,
            files: &[$(($file, include_str!(concat!("../wit/", $folder, $file)))),+],
        }
    };
}

/// The packages of the contract, dependencies first.
pub const PACKAGES: &[Package] = &[
    package!("storage" in "deps/storage/": "backend.wit", "batch.wit", "optional.wit", "types.wit"),
    package!("capabilities" in "":
        "config.wit",
        "keyvalue.wit",
        "log.wit",
        "metrics.wit",
        "redis.wit",
        "render.wit",
        "secrets.wit",
        "sql.wit",
        "world.wit",
    ),
];

/// The files of WASI that a plugin over HTTP imports, beside the contract among its dependencies.
pub const WASI: &[(&str, &str)] = &[
    ("clocks.wit", include_str!("../wit/deps/clocks.wit")),
    ("http.wit", include_str!("../wit/deps/http.wit")),
    ("io.wit", include_str!("../wit/deps/io.wit")),
];

/// The version of the contract.
pub fn version() -> &'static str {
    version_in(PACKAGES[0].files[0].1)
}

/// The version of [`WASI`].
pub fn wasi_version() -> &'static str {
    version_in(WASI[0].1)
}

fn version_in(file: &'static str) -> &'static str {
    let package = file.lines().find(|line| line.starts_with("package ")).unwrap_or_default();
    package.split_once('@').map_or("", |(_, version)| version.trim_end_matches(';'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_contract_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
        assert_eq!((version(), wasi_version()), ("0.1.1", "0.2.12"));
        let packages = PACKAGES.iter().map(|package| (package.name, package.files));
        for ((name, files), folder) in packages.chain([("WASI", WASI)]).zip(["deps/storage", ".", "deps"]) {
            let mut found: Vec<String> = fs::read_dir(root.join(folder))
                .unwrap()
                .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
                .filter(|name| name.ends_with(".wit"))
                .collect();
            found.sort();
            let listed: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            assert_eq!(listed, found, "{name}: wit/{folder} and the list in {}", file!());
        }
    }
}
