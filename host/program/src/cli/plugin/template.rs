//! The files that `plugin new` writes: the template, the SDK, the contract and the guide, as of the build of this program. So a
//! plugin builds without this program's sources. The folder `new/` links to them, so that the package of this program holds them.

use reflow_tracing::plugin::wit;

/// A file, with its path in the new folder.
pub(super) struct File {
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! files {
    ($($path:literal from $source:literal),+ $(,)?) => {
        &[$(File { path: $path, text: include_str!(concat!("../../../new/", $source)) }),+]
    };
}

/// Files with placeholders between `{{` and `}}`.
pub(super) const TEMPLATE: &[File] = files! {
    "Cargo.toml" from "template/plugin.toml",
    "README.md" from "template/README.md",
    ".gitignore" from "template/gitignore",
    "sdk/rust/Cargo.toml" from "template/sdk.toml",
};

/// Files that are copied unchanged. Their relative paths are those of the repository.
pub(super) const COPIES: &[File] = files! {
    "src/lib.rs" from "template/src/lib.rs",
    "src/query.rs" from "template/src/query.rs",
    "src/schema.sql" from "template/src/schema.sql",
    "docs/writing-a-plugin.md" from "writing-a-plugin.md",
    "sdk/rust/src/bindings.rs" from "sdk/bindings.rs",
    "sdk/rust/src/config.rs" from "sdk/config.rs",
    "sdk/rust/src/export.rs" from "sdk/export.rs",
    "sdk/rust/src/keyvalue.rs" from "sdk/keyvalue.rs",
    "sdk/rust/src/lib.rs" from "sdk/lib.rs",
    "sdk/rust/src/log.rs" from "sdk/log.rs",
    "sdk/rust/src/metrics.rs" from "sdk/metrics.rs",
    "sdk/rust/src/redis.rs" from "sdk/redis.rs",
    "sdk/rust/src/secrets.rs" from "sdk/secrets.rs",
    "sdk/rust/src/sql.rs" from "sdk/sql.rs",
    "sdk/rust/src/types.rs" from "sdk/types.rs",
};

/// The files of the contract, with their paths.
pub(super) fn contract() -> impl Iterator<Item = (String, &'static str)> {
    // The root of the SDK's folder is the package `capabilities`, as in the repository.
    let files = |package: &'static wit::Package| {
        let folder = if package.name == "capabilities" { "" } else { "deps/storage/" };
        package.files.iter().map(move |(name, text)| (format!("sdk/rust/wit/{folder}{name}"), *text))
    };
    wit::PACKAGES.iter().flat_map(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn files_in(folder: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                found.extend(files_in(&path));
            } else {
                found.insert(path);
            }
        }
        found
    }

    #[test]
    fn every_file_of_the_sdk_is_copied() {
        let copied: BTreeSet<String> =
            COPIES.iter().map(|file| file.path.to_owned()).filter(|path| path.starts_with("sdk/")).collect();
        assert_eq!(copied, files_in("sdk/rust/src"), "the list in {}", file!());
    }

    #[test]
    fn every_file_of_the_template_is_copied() {
        let of_template = |path: &str| files_in("sdk/rust/template").contains(path);
        assert_eq!(files_in("sdk/rust/template").len(), TEMPLATE.len() + 3, "the lists in {}", file!());
        for file in COPIES.iter().filter(|file| file.path.starts_with("src/")) {
            assert!(of_template(&format!("sdk/rust/template/{}", file.path)), "{}", file.path);
        }
    }

    #[test]
    fn the_copy_of_the_sdk_depends_on_what_the_sdk_depends_on() {
        let line = |text: &str| text.lines().find(|line| line.starts_with("wit-bindgen")).map(str::to_owned);
        let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let copy = TEMPLATE.iter().find(|file| file.path == "sdk/rust/Cargo.toml").unwrap();
        assert!(line(copy.text).is_some());
        assert_eq!(line(copy.text), line(&workspace));
    }
}
