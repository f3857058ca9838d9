//! What a component imports and exports, held against what this host has. All of it before anything is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{Function, Interface, InterfaceId, Resolve, SourceMap, World, WorldItem, WorldKey};

use super::{Problem, shape, wasi, wit};

const BACKEND: &str = "reflow:storage/backend";
const CAPABILITIES: &str = "reflow:capabilities/";

/// What the type of a component says.
pub(super) struct Contract {
    /// The version of the contract that the component was built for; absent when it exports no backend.
    pub version: Option<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub capabilities: Vec<String>,
    /// Its world, in WIT.
    pub wit: String,
    pub problems: Vec<Problem>,
}

impl Contract {
    /// Of a component's bytes. Fails on what is no component.
    pub(super) fn of(component: &[u8]) -> Result<Self, Problem> {
        let damaged = |error: String| {
            Problem::new(
                format!("it can't be read as a component: {error}"),
                "it may be cut off or damaged: build it or copy it again",
            )
        };
        let decoded = wit_component::decode(component).map_err(|error| damaged(format!("{error:#}")))?;
        let DecodedWasm::Component(resolve, world) = &decoded else {
            return Err(Problem::new("this is a WIT package, a description without code", "build the component"));
        };
        let mut printer = WitPrinter::default();
        printer.print(resolve, decoded.package(), &[]).map_err(|error| damaged(format!("{error:#}")))?;
        Ok(Self::of_world(resolve, &resolve.worlds[*world], printer.output.into()))
    }

    fn of_world(resolve: &Resolve, world: &World, wit: String) -> Self {
        let names = |items: &mut dyn Iterator<Item = &WorldKey>| -> Vec<String> {
            items.map(|key| resolve.name_world_key(key)).collect()
        };
        let mut check = Check { resolve, problems: Vec::new(), versions: BTreeMap::new() };
        let version = check.exports(world);
        let mut capabilities = BTreeSet::new();
        for (key, item) in &world.imports {
            check.import(key, item, &mut capabilities);
        }
        Self {
            version,
            imports: names(&mut world.imports.keys()),
            exports: names(&mut world.exports.keys()),
            capabilities: capabilities.into_iter().collect(),
            wit,
            problems: check.finish(),
        }
    }
}

/// The name of a package's version that matters to linking: `0.1`, or `1` from 1.0 on.
type Track = (u64, u64);

/// An interface by its name without the version, and the version.
struct Named {
    name: String,
    package: String,
    version: Option<(u64, u64, u64)>,
}

impl Named {
    fn of(resolve: &Resolve, id: InterfaceId) -> Option<Self> {
        let interface = &resolve.interfaces[id];
        let package = &resolve.packages[interface.package?].name;
        let of = format!("{}:{}", package.namespace, package.name);
        Some(Self {
            name: format!("{of}/{}", interface.name.as_deref()?),
            package: of,
            version: package.version.as_ref().map(|version| (version.major, version.minor, version.patch)),
        })
    }

    fn track(&self) -> Option<Track> {
        self.version.map(|(major, minor, _)| (major, if major == 0 { minor } else { 0 }))
    }

    fn version(&self) -> String {
        self.version
            .map_or_else(|| "without a version".into(), |(major, minor, patch)| format!("{major}.{minor}.{patch}"))
    }
}

/// What this host has.
struct Host {
    resolve: Resolve,
    /// Interfaces by name, without the version.
    interfaces: BTreeMap<String, InterfaceId>,
}

/// From the files of `wit/`, which the bindings are generated from too.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    for package in wit::PACKAGES {
        let mut sources = SourceMap::new();
        for (name, text) in package.files {
            sources.push_str(name, *text);
        }
        let parsed = sources.parse().map_err(|(_, error)| error).expect("the bindings are generated from these files");
        resolve.push_group(parsed).expect("the bindings are generated from these files");
    }
    let interfaces =
        resolve.interfaces.iter().filter_map(|(id, _)| Some((Named::of(&resolve, id)?.name, id))).collect();
    Host { resolve, interfaces }
});

impl Host {
    fn get(&self, name: &str) -> Option<(Named, &Interface)> {
        let id = *self.interfaces.get(name)?;
        Some((Named::of(&self.resolve, id)?, &self.resolve.interfaces[id]))
    }
}

struct Check<'a> {
    resolve: &'a Resolve,
    problems: Vec<Problem>,
    /// Interfaces of versions that this host doesn't have, by package and both versions: one problem for all of them.
    versions: BTreeMap<(String, String, String, bool), Vec<String>>,
}

impl Check<'_> {
    /// Checks the backend among the exports and gives its version.
    fn exports(&mut self, world: &World) -> Option<String> {
        let backend = world.exports.values().find_map(|item| match item {
            WorldItem::Interface { id, .. } => {
                Named::of(self.resolve, *id).filter(|named| named.name == BACKEND).map(|named| (named, *id))
            }
            _ => None,
        });
        let Some((named, id)) = backend else {
            self.problem(
                format!("it exports no `{BACKEND}`, so it is no storage plugin"),
                "generate bindings for the world `reflow:capabilities/plugin` and export what it asks for",
            );
            return None;
        };
        let (host, interface) = HOST.get(BACKEND).expect("the contract has a backend");
        let version = named.version();
        if named.track() != host.track() {
            self.version(named, host);
            return Some(version);
        }
        let found = &self.resolve.interfaces[id].functions;
        for (name, wanted) in &interface.functions {
            match found.get(name) {
                None => self.problem(
                    format!("its `{BACKEND}` has no function `{name}`"),
                    format!("build it for contract {}", host.version()),
                ),
                Some(found) => self.same_shape(BACKEND, found, wanted),
            }
        }
        Some(version)
    }

    fn import(&mut self, key: &WorldKey, item: &WorldItem, capabilities: &mut BTreeSet<String>) {
        let id = match item {
            WorldItem::Interface { id, .. } => *id,
            WorldItem::Type { .. } => return,
            WorldItem::Function(function) => {
                return self.nobody_gives(&format!("the function `{}`", function.name));
            }
        };
        let Some(named) = Named::of(self.resolve, id) else {
            return self.nobody_gives(&format!("the interface `{}`", self.resolve.name_world_key(key)));
        };
        if let Some(capability) = named.name.strip_prefix(CAPABILITIES) {
            capabilities.insert(capability.into());
        }
        if named.package.starts_with("wasi:") {
            return self.import_wasi(&named, capabilities);
        }
        let Some((host, interface)) = HOST.get(&named.name) else {
            return self.unknown_interface(&named);
        };
        if named.track() != host.track() {
            return self.version(named, host);
        }
        for (name, found) in &self.resolve.interfaces[id].functions {
            match interface.functions.get(name) {
                Some(wanted) => self.same_shape(&named.name, found, wanted),
                None => self.problem(
                    format!(
                        "it imports `{name}` of `{}`, which this host's {} does not have",
                        named.name,
                        host.version()
                    ),
                    "use a newer host, or build the component without it",
                ),
            }
        }
    }

    fn import_wasi(&mut self, named: &Named, capabilities: &mut BTreeSet<String>) {
        if named.name == wasi::HTTP {
            capabilities.insert("http".into());
        }
        let of_0_2 = matches!(named.version, Some((0, 2, _)));
        if of_0_2 && wasi::is_known(&named.name) {
            return;
        }
        let fix = if of_0_2 {
            "build it without; plugins reach databases and servers through `reflow:capabilities`"
        } else {
            "build it for WASI 0.2, for example for the target wasm32-wasip2"
        };
        self.problem(format!("it imports `{}@{}`, which this host does not have", named.name, named.version()), fix);
    }

    fn unknown_interface(&mut self, named: &Named) {
        let siblings = format!("{}/", named.package);
        let known: Vec<_> = HOST.interfaces.keys().filter_map(|name| name.strip_prefix(&siblings)).collect();
        if known.is_empty() {
            return self.nobody_gives(&format!("`{}@{}`", named.name, named.version()));
        }
        self.problem(
            format!("it imports `{}@{}`, which this host does not have", named.name, named.version()),
            format!("use a newer host, or build it without; of {} there are {}", named.package, known.join(", ")),
        );
    }

    fn nobody_gives(&mut self, what: &str) {
        self.problem(
            format!("it imports {what}, which no host gives"),
            "a plugin may import `reflow:storage`, `reflow:capabilities` and WASI 0.2; compose it with what it needs, or \
             build it without",
        );
    }

    fn same_shape(&mut self, interface: &str, found: &Function, wanted: &Function) {
        let name = &found.name;
        if shape::is_async(found) && !shape::is_async(wanted) {
            return self.problem(
                format!("`{name}` of `{interface}` is an async function of the component model"),
                "build it with plain functions: what waits, waits in the host",
            );
        }
        let (found, wanted) = (shape::of_function(self.resolve, found), shape::of_function(&HOST.resolve, wanted));
        if found != wanted {
            self.problem(
                format!("`{name}` of `{interface}` has another signature: {found}; the contract's is {wanted}"),
                format!("generate its bindings from the contract {}, and build it again", wit::version()),
            );
        }
    }

    fn version(&mut self, found: Named, host: Named) {
        let newer = found.track() > host.track();
        let interface = found.name.trim_start_matches(&*host.package).trim_start_matches('/').to_owned();
        let of_one = self.versions.entry((host.package.clone(), found.version(), host.version(), newer)).or_default();
        if !of_one.contains(&interface) {
            of_one.push(interface);
        }
    }

    fn problem(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(what, fix));
    }

    fn finish(mut self) -> Vec<Problem> {
        for ((package, found, host, newer), interfaces) in std::mem::take(&mut self.versions) {
            let minor = host.rsplit_once('.').map_or(host.as_str(), |(minor, _)| minor);
            let fix = if newer {
                format!("use a newer host, or rebuild the component against {minor}")
            } else {
                format!("rebuild the component against {minor}")
            };
            self.problem(
                format!(
                    "this host has {package} {host}, the component was built for {found} ({})",
                    interfaces.join(", ")
                ),
                fix,
            );
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_of_this_host_can_be_read() {
        assert_eq!(wit::version(), "0.1.0");
        let (_, sql) = HOST.get("reflow:capabilities/sql").unwrap();
        let shape = shape::of_function(&HOST.resolve, &sql.functions["[method]connection.dialect"]);
        assert_eq!(shape, "func(self: borrow<connection>) -> string");
    }
}
