//! The contract: the files of `wit/` that this program was built with.

/// A package of the contract.
pub struct Package {
    /// Its folder in `wit/`.
    pub folder: &'static str,
    /// File names and contents.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! package {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        Package {
            folder: $folder,
            files: &[$(($file, include_str!(concat!("../wit/", $folder, "/", $file)))),+],
        }
    };
}

/// The packages of the contract, dependencies first.
pub const PACKAGES: &[Package] = &[
    package!("storage": "backend.wit", "batch.wit", "types.wit"),
    package!("capabilities":
        "config.wit",
        "keyvalue.wit",
        "log.wit",
        "metrics.wit",
        "redis.wit",
        "secrets.wit",
        "sql.wit",
        "world.wit",
    ),
];

/// The version of the contract.
pub fn version() -> &'static str {
    let first = PACKAGES[0].files[0].1.lines().next().unwrap_or_default();
    first.split_once('@').map_or("", |(_, version)| version.trim_end_matches(';'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_contract_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
        assert_eq!(version(), "0.1.0");
        for Package { folder, files } in PACKAGES {
            let mut found: Vec<String> = fs::read_dir(root.join(folder))
                .unwrap()
                .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
                .filter(|name| name.ends_with(".wit"))
                .collect();
            found.sort();
            let listed: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            assert_eq!(listed, found, "wit/{folder} and the list in {}", file!());
        }
    }
}
