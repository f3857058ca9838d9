//! The world of a core module that names none. Go's compiler writes such modules: the names of a module's imports and exports say
//! which interfaces it was built for, and the contract has their types.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::StringEncoding;
use wit_parser::{Resolve, SourceMap};

use super::host::INTERFACES;
use super::problem::Problem;
use super::wasi;
use crate::wit;

const BACKEND: &str = "reflow:storage/backend";
const OURS: &str = "reflow:";

/// Embeds the world in the core module: text is UTF-8, as in every language that has no world of its own.
///
/// Fails when the names say no world of the contract, or several.
pub(super) fn embed(module: &[u8]) -> Result<Vec<u8>, Problem> {
    let names = Names::of(module).map_err(|error| {
        Problem::new(format!("can't read this core WebAssembly module: {error}"), "build or copy it again")
    })?;
    names.check()?;
    let failed = |error: String| {
        Problem::new(
            format!("the world of this core WebAssembly module can't be made from its imports and exports: {error}"),
            "build it with bindings that embed the world",
        )
    };
    let (resolve, world) = names.world().map_err(failed)?;
    let mut embedded = module.to_owned();
    wit_component::embed_component_metadata(&mut embedded, &resolve, world, StringEncoding::UTF8)
        .map_err(|error| failed(format!("{error:#}")))?;
    Ok(embedded)
}

/// The interfaces that a core module was built for.
#[derive(Default)]
struct Names {
    /// The functions of each imported interface.
    imports: BTreeMap<Interface, BTreeSet<String>>,
    /// Modules of imports that are not interfaces.
    plain_imports: BTreeSet<String>,
    exports: BTreeSet<Interface>,
}

/// An interface: `reflow:storage/backend` of `0.1.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Interface {
    name: String,
    version: String,
}

impl Interface {
    fn parse(text: &str) -> Option<Self> {
        let (name, version) = text.split_once('@')?;
        let is_interface = name.split_once(':').is_some_and(|(_, rest)| rest.contains('/'));
        is_interface.then(|| Self { name: name.into(), version: version.into() })
    }

    fn text(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Names {
    fn of(module: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut names = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match Interface::parse(import.module) {
                            Some(interface) => {
                                names.imports.entry(interface).or_default().insert(import.name.into());
                            }
                            None => {
                                names.plain_imports.insert(import.module.into());
                            }
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let interface = export.name.split_once('#').and_then(|(name, _)| Interface::parse(name));
                        if export.kind == ExternalKind::Func
                            && let Some(interface) = interface.filter(|found| !found.name.starts_with("cabi_post_"))
                        {
                            names.exports.insert(interface);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }

    /// The version of the contract, when there is one only.
    fn version(&self) -> Option<&str> {
        let mut ours = self.imports.keys().chain(&self.exports).filter(|interface| interface.name.starts_with(OURS));
        let version = &ours.next()?.version;
        ours.all(|interface| interface.version == *version).then_some(version)
    }

    fn check(&self) -> Result<(), Problem> {
        if !self.exports.iter().any(|interface| interface.name == BACKEND) {
            return Err(Problem::new(
                format!(
                    "this is a core WebAssembly module that names no world in a section `component-type`, and exports no \
                     function of `{BACKEND}`"
                ),
                "build it for the target wasm32-wasip2, or with bindings of wit-bindgen for a world that exports \
                 `reflow:storage/backend`",
            ));
        }
        let Some(version) = self.version() else {
            let all: Vec<_> = self.imports.keys().chain(&self.exports).map(Interface::text).collect();
            return Err(Problem::new(
                format!(
                    "this core WebAssembly module names no world in a section `component-type`, and it cannot be told from its \
                     imports and exports, which are of several versions of the contract: {}",
                    all.join(", ")
                ),
                format!("generate all bindings from one version, such as {}", wit::version()),
            ));
        };
        if minor(version) != minor(wit::version()) {
            return Err(Problem::new(
                format!("this host has contract {}, the module was built for {version}", wit::version()),
                format!("rebuild it against {}, or use a host with contract {version}", wit::version()),
            ));
        }
        if let Some(foreign) = self.exports.iter().find(|interface| !INTERFACES.contains_key(interface.name.as_str())) {
            return Err(Problem::new(
                format!(
                    "this core WebAssembly module names no world in a section `component-type`, and exports `{}`, which is not \
                     part of the contract",
                    foreign.text()
                ),
                "build it without that export, or with bindings that embed the world",
            ));
        }
        for (interface, functions) in &self.imports {
            let known = INTERFACES.get(interface.name.as_str());
            if known.is_none() && !is_wasi(interface) {
                return Err(Problem::new(
                    format!(
                        "this core WebAssembly module names no world in a section `component-type`, and imports `{}`, whose types \
                         this host does not have",
                        interface.text()
                    ),
                    "use a newer host, or build the module without that import or with bindings that embed the world",
                ));
            }
            // Handles are dropped by a function that no interface lists.
            let listed =
                |name: &str| name.starts_with('[') && !name.starts_with("[method]") && !name.starts_with("[static]");
            let unknown = known
                .and_then(|known| functions.iter().find(|name| !listed(name) && !known.contains_key(name.as_str())));
            if let Some(name) = unknown {
                return Err(Problem::new(
                    format!(
                        "it imports `{name}` of `{}`, which contract {} does not have",
                        interface.text(),
                        wit::version()
                    ),
                    "use a newer host, or build the module without it",
                ));
            }
        }
        Ok(())
    }

    /// The world with exactly these imports and exports, of the contract's packages in the version that the module names.
    fn world(&self) -> Result<(Resolve, wit_parser::WorldId), String> {
        let version = self.version().unwrap_or_else(|| wit::version());
        let mut text = String::from("package local:core-module;\nworld plugin {\n");
        for interface in self.imports.keys() {
            let imported = match is_wasi(interface) {
                // Linking ignores the patch version.
                true => format!("{}@{}", interface.name, wit::wasi_version()),
                false => interface.text(),
            };
            text.push_str(&format!("import {imported};\n"));
        }
        for interface in &self.exports {
            text.push_str(&format!("export {};\n", interface.text()));
        }
        text.push_str("}\n");

        let mut resolve = Resolve::default();
        if self.imports.keys().any(is_wasi) {
            // Clocks use io, and http uses both.
            for name in ["io.wit", "clocks.wit", "http.wit"] {
                for (_, file) in wit::WASI.iter().filter(|(file, _)| *file == name) {
                    push(&mut resolve, [(name.to_owned(), (*file).to_owned())])?;
                }
            }
        }
        for package in wit::PACKAGES {
            let file = |(name, file): &(&str, &str)| (format!("{}/{name}", package.name), in_version(file, version));
            push(&mut resolve, package.files.iter().map(file))?;
        }
        let package = push(&mut resolve, [("world.wit".to_owned(), text)])?;
        let world = resolve.select_world(&[package], Some("plugin")).map_err(|error| error.to_string())?;
        Ok((resolve, world))
    }
}

fn push(
    resolve: &mut Resolve,
    files: impl IntoIterator<Item = (String, String)>,
) -> Result<wit_parser::PackageId, String> {
    let mut sources = SourceMap::new();
    for (name, text) in files {
        sources.push_str(&name, text);
    }
    let parsed = sources.parse().map_err(|(_, error)| error.to_string())?;
    resolve.push_group(parsed).map_err(|error| error.to_string())
}

/// A file of the contract as if it were of another patch version: that only adds, and the module uses no more than there is.
fn in_version(file: &str, version: &str) -> String {
    // A version in which something was added may be later than that of the package.
    let lines = file.lines().filter(|line| !line.trim_start().starts_with("@since("));
    lines.map(|line| line.replace(&format!("@{}", wit::version()), &format!("@{version}")) + "\n").collect()
}

/// Whether it is an interface of WASI 0.2 whose types are known here.
fn is_wasi(interface: &Interface) -> bool {
    interface.version.starts_with("0.2.") && wasi::is_known(&interface.name) && {
        let package = interface.name.split(['/', ':']).nth(1).unwrap_or_default();
        wit::WASI.iter().any(|(file, _)| file.strip_suffix(".wit") == Some(package))
    }
}

/// 0.1 of 0.1.2.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(imports: &[(&str, &str)], exports: &[&str]) -> Names {
        let mut names = Names::default();
        for (module, name) in imports {
            names.imports.entry(Interface::parse(module).unwrap()).or_default().insert((*name).into());
        }
        names.exports = exports.iter().map(|name| Interface::parse(name).unwrap()).collect();
        names
    }

    const EXPORT: &str = "reflow:storage/backend@0.1.1";

    #[test]
    fn the_world_has_what_the_names_say_in_their_version() {
        for version in ["0.1.0", "0.1.1", "0.1.9"] {
            let (keyvalue, export) =
                (format!("reflow:capabilities/keyvalue@{version}"), EXPORT.replace("0.1.1", version));
            let names = names(&[(&keyvalue, "[method]bucket.get"), (&keyvalue, "[resource-drop]bucket")], &[&export]);
            names.check().unwrap();
            let (resolve, world) = names.world().unwrap();
            let world = &resolve.worlds[world];
            let text = |key: &wit_parser::WorldKey| resolve.name_world_key(key);
            let imports: Vec<_> = world.imports.keys().map(text).collect();
            assert!(imports.contains(&keyvalue), "{imports:?}");
            assert!(!imports.iter().any(|name| name.contains("/sql")), "{imports:?}");
            assert_eq!(world.exports.keys().map(text).collect::<Vec<_>>(), [export]);
        }
        let http = names(&[("wasi:http/outgoing-handler@0.2.0", "handle")], &[EXPORT, "reflow:storage/expiry@0.1.1"]);
        http.check().unwrap();
        let (resolve, world) = http.world().unwrap();
        assert_eq!(resolve.worlds[world].exports.len(), 2);
    }

    #[test]
    fn names_that_say_no_world_or_several_are_refused_with_the_reason() {
        let keyvalue = "reflow:capabilities/keyvalue@0.1.1";
        for (names, parts) in [
            (names(&[(keyvalue, "[static]bucket.open")], &[]), ["reflow:storage/backend", "wasm32-wasip2"]),
            (names(&[], &["acme:shop/backend@1.0.0"]), ["exports no function of", "wit-bindgen"]),
            (
                names(&[("reflow:capabilities/log@0.1.0", "log")], &[EXPORT]),
                ["several versions", "reflow:capabilities/log@0.1.0"],
            ),
            (names(&[], &["reflow:storage/backend@0.2.0"]), ["0.2.0", "rebuild it against 0.1.1"]),
            (names(&[("acme:shop/till@1.0.0", "open")], &[EXPORT]), ["acme:shop/till@1.0.0", "newer host"]),
            (names(&[], &[EXPORT, "acme:shop/till@1.0.0"]), ["exports `acme:shop/till@1.0.0`", "without that export"]),
            (names(&[("wasi:sockets/tcp@0.2.0", "x")], &[EXPORT]), ["wasi:sockets/tcp@0.2.0", "embed the world"]),
            (names(&[(keyvalue, "[method]bucket.fly")], &[EXPORT]), ["[method]bucket.fly", "newer host"]),
        ] {
            let problem = names.check().unwrap_err().to_string();
            for part in parts {
                assert!(problem.contains(part), "no {part:?} in: {problem}");
            }
        }
    }
}
