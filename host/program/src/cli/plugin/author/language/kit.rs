//! What each language provides, and what the folders of plugins in all languages share.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use reflow_tracing::plugin::wit;

/// What this program knows about a language.
pub(in crate::cli::plugin::author) struct Kit {
    /// The capabilities that a new plugin can be written over, the default first.
    pub over: &'static [Over],
    /// The file of a new plugin that its author reads first.
    pub source: &'static str,
    /// The files of a new plugin with this name over this capability. Fails if the language does not allow the name.
    pub files: fn(&str, Over) -> anyhow::Result<Vec<File>>,
    /// Compiles the plugin in a folder with a `plugin.toml` that gives this name. Returns the component.
    pub build: fn(&Path, &str) -> anyhow::Result<PathBuf>,
}

/// The capability that a new plugin stores in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli::plugin::author) enum Over {
    /// Ordered keys and values: an embedded file, memory or Redis
    Keyvalue,
    /// A SQL database: SQLite, PostgreSQL or MariaDB
    Sql,
    /// Redis's data types
    Redis,
    /// A service that takes JSON over HTTP: a forwarder, which does not read
    Http,
}

impl Over {
    /// The interfaces that a plugin over it imports: capabilities, or `http`.
    pub(super) fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Keyvalue => &["keyvalue"],
            Self::Sql => &["sql"],
            Self::Redis => &["redis"],
            Self::Http => &["render", "http"],
        }
    }

    /// What a plugin over it does, as a sentence of its README.
    pub(super) fn does(self) -> &'static str {
        match self {
            Self::Keyvalue => "It stores traces in a bucket of ordered keys and values.",
            Self::Sql => "It stores traces in a SQLite database.",
            Self::Redis => "It stores traces in Redis, 6.2 or newer.",
            Self::Http => {
                "It posts every trace header and every event that is stored to a URL, as lines of JSON. It keeps nothing, so it is used \
                 beside a store."
            }
        }
    }

    /// The configuration that uses such a plugin with this name.
    pub(super) fn configuration(self, name: &str) -> String {
        let grants = match self {
            Self::Keyvalue => format!("keyvalue = {{ default = \"file:{name}.kv\" }}"),
            Self::Sql => format!("sql = {{ default = \"sqlite:{name}.db\" }}"),
            Self::Redis => {
                format!("redis = {{ default = {{ url = \"redis://127.0.0.1:6379\", prefix = \"{name}:\" }} }}")
            }
            Self::Http => {
                return format!(
                    "[storage]\nbackend = \"sqlite\"\nalso = [\"{name}\"]\n\n[plugins.{name}]\n\
                     grants = {{ http = [\"https://example.com\"] }}\nconfig = {{ url = \"https://example.com/traces\" }}"
                );
            }
        };
        format!("[storage]\nbackend = \"{name}\"\n\n[plugins.{name}]\ngrants = {{ {grants} }}")
    }
}

/// A file of a new plugin, with its path in the folder.
pub(in crate::cli::plugin::author) struct File {
    pub path: String,
    pub text: String,
}

/// A file as of the build of this program, so that a plugin builds without this program's sources. The folder `new/` links to them,
/// so that the package of this program holds them.
pub(super) struct Source {
    pub path: &'static str,
    pub text: &'static str,
}

/// A list of [`Source`]s: the path in the new folder, and the file in `new/`.
macro_rules! sources {
    ($($path:literal from $source:literal),* $(,)?) => {
        &[$($crate::cli::plugin::author::language::kit::Source {
            path: $path,
            text: include_str!(concat!("../../../../../new/", $source)),
        }),*]
    };
}
pub(super) use sources;

/// The files, with values for their placeholders `{{name}}`, `{{version}}` (of this program) and `{{contract}}` (its version).
pub(super) fn filled<'a>(sources: &'a [Source], name: &'a str) -> impl Iterator<Item = File> + 'a {
    sources.iter().map(move |Source { path, text }| File {
        path: (*path).to_owned(),
        text: text
            .replace("{{name}}", name)
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{contract}}", wit::version()),
    })
}

/// The files as they are.
pub(super) fn copied(sources: &[Source]) -> impl Iterator<Item = File> {
    sources.iter().map(|Source { path, text }| File { path: (*path).to_owned(), text: (*text).to_owned() })
}

/// The version of the files of WASI.
fn wasi_version() -> &'static str {
    let package =
        wit::WASI.iter().find_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("package wasi:http@")));
    package.map_or("", |version| version.trim_end_matches(';'))
}

/// The world of the plugin in `wit/world.wit`, named `local:backend/plugin`, with these interfaces of `reflow:capabilities` or `http`, and
/// the packages that it may refer to, WASI's HTTP included: the layout that every generator of bindings takes. The world has a fixed name, because not every
/// name of a plugin is valid in WIT.
pub(super) fn contract(capabilities: &[&str]) -> impl Iterator<Item = File> {
    let version = wit::version();
    let mut world = format!(
        "package local:backend;\n\n\
         /// What this plugin exports and imports. A plugin needs a grant only for what it imports.\n\
         world plugin {{\n    include reflow:storage/storage-plugin@{version};\n"
    );
    for capability in capabilities {
        world.push_str(&match *capability {
            "http" => format!("    import wasi:http/outgoing-handler@{};\n", wasi_version()),
            capability => format!("    import reflow:capabilities/{capability}@{version};\n"),
        });
    }
    world.push_str("}\n");
    let packages = wit::PACKAGES.iter().flat_map(|package| {
        let file = move |(name, text): &(&str, &str)| File {
            path: format!("wit/deps/{}/{name}", package.name),
            text: (*text).to_owned(),
        };
        package.files.iter().map(file)
    });
    let wasi = wit::WASI.iter().map(|(name, text)| File { path: format!("wit/deps/{name}"), text: (*text).to_owned() });
    packages.chain(wasi).chain([File { path: "wit/world.wit".into(), text: world }])
}

/// Comparing the lists of files with the folders that they come from.
#[cfg(test)]
pub(super) mod listed {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// The paths of all files in a folder of the repository, relative to it, without what tools leave behind.
    pub(in super::super) fn files_in(folder: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if ["__pycache__", "node_modules", "build"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                found.extend(files_in(&format!("{folder}/{name}")).into_iter().map(|path| format!("{name}/{path}")));
            } else {
                found.insert(name);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_imports_only_the_named_capabilities_and_every_package_is_there() {
        let files: Vec<File> = contract(&["keyvalue", "log"]).collect();
        let world = files.iter().find(|file| file.path == "wit/world.wit").unwrap();
        assert!(world.text.contains("import reflow:capabilities/keyvalue@0.1.1;"), "{}", world.text);
        assert!(world.text.contains("include reflow:storage/storage-plugin@0.1.1;") && !world.text.contains("sql"));
        let http: Vec<File> = contract(&["http"]).collect();
        let world = http.iter().find(|file| file.path == "wit/world.wit").unwrap();
        assert!(world.text.contains("import wasi:http/outgoing-handler@0.2.12;"), "{}", world.text);
        for path in ["wit/deps/storage/backend.wit", "wit/deps/capabilities/keyvalue.wit"] {
            assert!(files.iter().any(|file| file.path == path), "{path}");
        }
    }
}
