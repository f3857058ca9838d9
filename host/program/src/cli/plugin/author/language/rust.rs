//! Rust: the plugin is a package, which cargo compiles.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use reflow_tracing::plugin::wit;
use serde::Deserialize;

use super::kit::{File, Kit, Over, Source, copied, filled, sources};

pub(super) const KIT: Kit = Kit {
    over: &[Over::Sql, Over::Keyvalue, Over::Redis, Over::Http],
    source: "src/lib.rs",
    files,
    build: |folder, _| {
        let folder = folder.display();
        bail!("a plugin in Rust has no plugin.toml: {folder}/Cargo.toml has its name. Remove {folder}/plugin.toml")
    },
};

/// The target that yields components.
pub(in crate::cli::plugin) const TARGET: &str = "wasm32-wasip2";

fn files(name: &str, over: Over) -> anyhow::Result<Vec<File>> {
    ensure!(
        !is_reserved(name),
        "the name `{name}` is reserved: Rust does not allow it for a crate, or the plugin depends on a crate with this name"
    );
    let (sources, about, features) = template(over);
    let values = [
        ("{{files}}", about),
        ("{{features}}", features),
        ("{{does}}", over.does()),
        ("{{configuration}}", &over.configuration(name)),
    ];
    let fill = |file: File| {
        let text = values.iter().fold(file.text, |text, (placeholder, value)| text.replace(placeholder, value));
        File { text, ..file }
    };
    Ok(filled(TEMPLATE, name).map(fill).chain(copied(sources)).chain(copied(SDK)).chain(contract()).collect())
}

/// The sources of a plugin over this capability, what its README says about them, and the features of the SDK that it needs.
fn template(over: Over) -> (&'static [Source], &'static str, &'static str) {
    match over {
        Over::Sql => (SQL, ", `src/query.rs` holds its queries, `src/schema.sql` its tables", ""),
        Over::Keyvalue => (KEYVALUE, ", `src/query.rs` and `src/header.rs` say how it stores and finds", ""),
        Over::Redis => (REDIS, ", `src/query.rs` and `src/header.rs` say how it stores and finds", ""),
        Over::Http => (HTTP, "", ", features = [\"http\"]"),
    }
}

fn is_reserved(name: &str) -> bool {
    // Names that rustc refuses for a crate, or cargo for a package.
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    // Crates of Rust, and those that a plugin depends on.
    const CRATES: &[&str] = &[
        "core",
        "proc-macro",
        "proc_macro",
        "reflow-tracing-plugin",
        "reflow_tracing_plugin",
        "std",
        "test",
        "wasip2",
        "wit-bindgen",
        "wit_bindgen",
    ];
    KEYWORDS.contains(&name) || CRATES.contains(&name)
}

/// Files with placeholders between `{{` and `}}`.
const TEMPLATE: &[Source] = sources! {
    "Cargo.toml" from "template/plugin.toml",
    "README.md" from "template/README.md",
    ".gitignore" from "template/gitignore",
    "sdk/rust/Cargo.toml" from "template/sdk.toml",
};

const SQL: &[Source] = sources! {
    "src/lib.rs" from "template/src/lib.rs",
    "src/query.rs" from "template/src/query.rs",
    "src/schema.sql" from "template/src/schema.sql",
};

const KEYVALUE: &[Source] = sources! {
    "src/header.rs" from "template/header.rs",
    "src/lib.rs" from "template/keyvalue/lib.rs",
    "src/query.rs" from "template/keyvalue/query.rs",
};

const REDIS: &[Source] = sources! {
    "src/header.rs" from "template/header.rs",
    "src/lib.rs" from "template/redis/lib.rs",
    "src/query.rs" from "template/redis/query.rs",
};

const HTTP: &[Source] = sources! {
    "src/lib.rs" from "template/http/lib.rs",
};

/// Files that are copied unchanged. Their relative paths are those of the repository.
const SDK: &[Source] = sources! {
    "docs/writing-a-plugin.md" from "writing-a-plugin.md",
    "sdk/rust/src/bindings.rs" from "sdk/bindings.rs",
    "sdk/rust/src/config.rs" from "sdk/config.rs",
    "sdk/rust/src/export.rs" from "sdk/export.rs",
    "sdk/rust/src/http.rs" from "sdk/http.rs",
    "sdk/rust/src/keyvalue.rs" from "sdk/keyvalue.rs",
    "sdk/rust/src/lib.rs" from "sdk/lib.rs",
    "sdk/rust/src/log.rs" from "sdk/log.rs",
    "sdk/rust/src/metrics.rs" from "sdk/metrics.rs",
    "sdk/rust/src/optional.rs" from "sdk/optional.rs",
    "sdk/rust/src/redis.rs" from "sdk/redis.rs",
    "sdk/rust/src/render.rs" from "sdk/render.rs",
    "sdk/rust/src/secrets.rs" from "sdk/secrets.rs",
    "sdk/rust/src/sql.rs" from "sdk/sql.rs",
    "sdk/rust/src/types.rs" from "sdk/types.rs",
};

/// The files of the contract.
fn contract() -> impl Iterator<Item = File> {
    // The root of the SDK's folder is the package `capabilities`, as in the repository.
    let files = |package: &'static wit::Package| {
        let folder = if package.name == "capabilities" { "" } else { "deps/storage/" };
        let file = move |(name, text): &(&str, &str)| File {
            path: format!("sdk/rust/wit/{folder}{name}"),
            text: (*text).to_owned(),
        };
        package.files.iter().map(file)
    };
    wit::PACKAGES.iter().flat_map(files)
}

/// Fails when the compiler for `folder` does not have the target. The error gives the command that installs it.
fn has_target(folder: &Path, target: &str) -> anyhow::Result<()> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(folder).stdin(Stdio::null());
    let output = rustc.output().context("can't start rustc: is Rust installed? See https://rustup.rs")?;
    ensure!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
    let libraries = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        Path::new(&libraries).is_dir(),
        "the compiler has no target {target}: install it with\n  rustup target add {target}"
    );
    Ok(())
}

/// A message of cargo, as far as this program needs it.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
        /// `path+file:///..#NAME@VERSION`, or without the name when the folder has the same name.
        package_id: String,
    },
    #[serde(other)]
    Other,
}

/// Builds the package in `folder` for `target`. Returns its name and the component.
pub(in crate::cli::plugin) fn build(folder: &Path, target: &str) -> anyhow::Result<(String, PathBuf)> {
    has_target(folder, target)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--target", target, "--message-format", "json-render-diagnostics"]);
    let mut child = cargo
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start cargo: is Rust installed? See https://rustup.rs")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let manifest =
        folder.join("Cargo.toml").canonicalize().with_context(|| format!("can't find {}", folder.display()))?;
    let mut built = None;
    for line in BufReader::new(stdout).lines() {
        // A build script may print other lines.
        let Ok(Message::CompilerArtifact { manifest_path, filenames, package_id }) =
            serde_json::from_str(&line.context("can't read the output of cargo")?)
        else {
            continue;
        };
        let component =
            filenames.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        if let Some(file) = component
            && manifest_path.canonicalize().is_ok_and(|path| path == manifest)
        {
            built = Some((package_name(&package_id, folder), file));
        }
    }
    let status = child.wait().context("can't wait for cargo to end")?;
    ensure!(status.success(), "can't build the plugin in {}: cargo ended with {status}", folder.display());
    match built {
        Some(built) => Ok(built),
        None => bail!(
            "cargo built no WebAssembly file from {}: set crate-type = [\"cdylib\"] in its `[lib]`",
            folder.join("Cargo.toml").display()
        ),
    }
}

/// Cargo's identifier of a package ends in `#NAME@VERSION`, or in `/NAME#VERSION` when its folder has the same name.
fn package_name(id: &str, folder: &Path) -> String {
    let (path, end) = id.rsplit_once('#').unwrap_or((id, ""));
    let name = end.split_once('@').map(|(name, _)| name).or_else(|| path.rsplit('/').next());
    name.map_or_else(|| folder.display().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::kit::listed::files_in;
    use super::*;

    #[test]
    fn the_name_is_read_from_the_identifier_of_the_package() {
        let name = |id| package_name(id, Path::new("."));
        assert_eq!(name("path+file:///home/a/ledger#0.1.0"), "ledger");
        assert_eq!(name("path+file:///home/a/folder#my-store@0.1.0"), "my-store");
    }

    #[test]
    fn names_that_a_crate_cannot_have_are_refused() {
        for name in ["test", "async", "wit-bindgen"] {
            assert!(files(name, Over::Sql).is_err(), "{name}");
        }
        assert!(files("my-store_2", Over::Sql).is_ok());
    }

    #[test]
    fn every_file_of_the_sdk_is_copied() {
        let copied = SDK.iter().filter_map(|file| file.path.strip_prefix("sdk/rust/src/")).map(str::to_owned);
        assert_eq!(
            copied.collect::<std::collections::BTreeSet<_>>(),
            files_in("sdk/rust/src"),
            "the list in {}",
            file!()
        );
    }

    #[test]
    fn every_file_of_the_templates_is_copied() {
        let written: usize = KIT.over.iter().map(|over| template(*over).0.len()).sum();
        // One file is in two of them.
        assert_eq!(files_in("sdk/rust/template").len(), TEMPLATE.len() + written - 1, "the lists in {}", file!());
    }

    #[test]
    fn a_new_plugin_has_no_placeholder_left() {
        for over in KIT.over {
            for file in files("ledger", *over).unwrap().iter().filter(|file| !file.path.starts_with("sdk/rust/src/")) {
                assert!(!file.text.contains("{{name}}") && !file.text.contains("{{f"), "{}: {}", file.path, file.text);
            }
        }
    }

    #[test]
    fn the_copy_of_the_sdk_depends_on_what_the_sdk_depends_on() {
        let line = |text: &str| text.lines().find(|line| line.starts_with("wit-bindgen =")).map(str::to_owned);
        let workspace = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml")).unwrap();
        let copy = TEMPLATE.iter().find(|file| file.path == "sdk/rust/Cargo.toml").unwrap();
        assert!(line(copy.text).is_some());
        assert_eq!(line(copy.text), line(&workspace));
    }
}
