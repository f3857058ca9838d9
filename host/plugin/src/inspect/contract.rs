//! Checks a component's imports and exports against this host's contract, before anything is compiled.

use std::collections::{BTreeMap, BTreeSet};

use super::host::INTERFACES;
use super::problem::Problem;
use super::wasi;
use super::world::{Functions, Item, Signature, World};
use crate::wit;

const BACKEND: &str = "reflow:storage/backend";
/// What a component may export beside it.
pub(super) const OPTIONAL: [&str; 2] = ["reflow:storage/maintenance", "reflow:storage/expiry"];
const CAPABILITIES: &str = "reflow:capabilities/";

/// The result of the check.
pub(super) struct Contract {
    /// The contract version that the component was built for; `None` when it exports no backend.
    pub version: Option<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub capabilities: Vec<String>,
    pub problems: Vec<Problem>,
}

impl Contract {
    /// Checks a component. Fails when the bytes are not a component.
    pub(super) fn of(component: &[u8]) -> Result<Self, Problem> {
        let world = World::of(component).map_err(|error| {
            Problem::new(
                format!("can't read it as a component: {error}"),
                "it may be truncated or damaged: build or copy it again",
            )
        })?;
        let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect();
        let mut check = Check::default();
        let version = check.exports(&world);
        world.imports.iter().for_each(|import| check.import(import));
        Ok(Self {
            version,
            imports: names(&world.imports),
            exports: names(&world.exports),
            capabilities: std::mem::take(&mut check.capabilities).into_iter().collect(),
            problems: check.finish(),
        })
    }
}

/// The parts of `NAMESPACE:PACKAGE/INTERFACE@VERSION`.
struct InterfaceName<'a> {
    /// `NAMESPACE:PACKAGE/INTERFACE`.
    name: &'a str,
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> InterfaceName<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, version) = text.split_once('@').unwrap_or((text, "without a version"));
        let (package, interface) = name.split_once('/')?;
        package.contains(':').then_some(Self { name, package, interface, version })
    }
}

/// The part of a version that linking compares: 0.1 of 0.1.2, 1 of 1.2.3.
fn track(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some((major, if major == 0 { minor } else { 0 }))
}

#[derive(Default)]
struct Check {
    capabilities: BTreeSet<String>,
    problems: Vec<Problem>,
    /// Interfaces of unsupported versions, by package and version: one problem for each version.
    versions: BTreeMap<(String, String), Vec<String>>,
}

impl Check {
    /// Checks the exported backend and returns its version.
    fn exports(&mut self, world: &World) -> Option<String> {
        let backend = world.exports.iter().find_map(|item| {
            let named = InterfaceName::parse(&item.name).filter(|named| named.name == BACKEND)?;
            Some((named, item.functions.as_ref()?))
        });
        let Some((named, functions)) = backend else {
            self.problem(
                format!("it does not export `{BACKEND}`, so it is not a storage plugin"),
                "generate bindings for the world `reflow:capabilities/plugin` and implement its exports",
            );
            return None;
        };
        self.export(&named, functions);
        for item in &world.exports {
            let named = InterfaceName::parse(&item.name).filter(|named| OPTIONAL.contains(&named.name));
            if let (Some(named), Some(functions)) = (named, &item.functions) {
                self.export(&named, functions);
            }
        }
        Some(named.version.into())
    }

    /// Checks that an exported interface has the functions of the contract.
    fn export(&mut self, named: &InterfaceName<'_>, functions: &Functions) {
        if !self.is_of_this_version(named) {
            return;
        }
        for (name, wanted) in &INTERFACES[named.name] {
            match functions.get(name) {
                None => self.problem(
                    format!("its `{}` has no function `{name}`", named.name),
                    format!("build it for contract {}", wit::version()),
                ),
                Some(found) => self.same_signature(named.name, name, found, wanted),
            }
        }
    }

    fn import(&mut self, item: &Item) {
        let (Some(named), Some(functions)) = (InterfaceName::parse(&item.name), &item.functions) else {
            return self.not_provided(&item.name);
        };
        if let Some(capability) = named.name.strip_prefix(CAPABILITIES) {
            self.capabilities.insert(capability.into());
        }
        if named.package.starts_with("wasi:") {
            return self.import_wasi(&named);
        }
        let Some(known) = INTERFACES.get(named.name) else {
            return self.unknown_interface(&named);
        };
        if !self.is_of_this_version(&named) {
            return;
        }
        for (name, found) in functions {
            match known.get(name) {
                Some(wanted) => self.same_signature(named.name, name, found, wanted),
                None => self.problem(
                    format!("it imports `{name}` of `{}`, which contract {} does not have", named.name, wit::version()),
                    "use a newer host, or build the component without it",
                ),
            }
        }
    }

    fn import_wasi(&mut self, named: &InterfaceName<'_>) {
        if named.name == wasi::HTTP {
            self.capabilities.insert("http".into());
        }
        let of_0_2 = track(named.version) == Some((0, 2));
        if of_0_2 && wasi::is_known(named.name) {
            return;
        }
        let fix = if of_0_2 {
            "build it without that import; plugins reach databases and servers through `reflow:capabilities`"
        } else {
            "build it for WASI 0.2, for example for the target wasm32-wasip2"
        };
        self.problem(format!("it imports `{}@{}`, which this host does not have", named.name, named.version), fix);
    }

    fn unknown_interface(&mut self, named: &InterfaceName<'_>) {
        let siblings = format!("{}/", named.package);
        let known: Vec<_> = INTERFACES.keys().filter_map(|name| name.strip_prefix(&siblings)).collect();
        let name = format!("{}@{}", named.name, named.version);
        if known.is_empty() {
            return self.not_provided(&name);
        }
        self.problem(
            format!("it imports `{name}`, which this host does not have"),
            format!("use a newer host, or build it without that import; {} has {}", named.package, known.join(", ")),
        );
    }

    fn not_provided(&mut self, what: &str) {
        self.problem(
            format!("it imports `{what}`, which no host provides"),
            "a plugin may import `reflow:storage`, `reflow:capabilities` and WASI 0.2; compose it with a component that \
             exports the import, or build it without",
        );
    }

    fn same_signature(&mut self, interface: &str, name: &str, found: &Signature, wanted: &Signature) {
        if found.is_async && !wanted.is_async {
            self.problem(
                format!("`{name}` of `{interface}` is an async function of the component model"),
                "build it with synchronous functions; waiting happens in the host",
            );
        } else if found != wanted {
            self.problem(
                format!(
                    "`{name}` of `{interface}` has another signature: {}; the contract's is {}",
                    found.text, wanted.text
                ),
                format!("generate bindings from contract {} and rebuild it", wit::version()),
            );
        }
    }

    fn is_of_this_version(&mut self, found: &InterfaceName<'_>) -> bool {
        let same = track(found.version) == track(wit::version());
        if !same {
            let of_one = self.versions.entry((found.package.into(), found.version.into())).or_default();
            of_one.push(found.interface.into());
        }
        same
    }

    fn problem(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(what, fix));
    }

    fn finish(mut self) -> Vec<Problem> {
        let host = wit::version();
        let minor = host.rsplit_once('.').map_or(host, |(minor, _)| minor);
        for ((package, found), interfaces) in std::mem::take(&mut self.versions) {
            let rebuild = format!("rebuild the component against {minor}");
            let newer = track(&found) > track(host);
            self.problem(
                format!(
                    "this host has contract {host}, the component was built for {package} {found} ({})",
                    interfaces.join(", ")
                ),
                if newer { format!("use a newer host, or {rebuild}") } else { rebuild },
            );
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_link_by_their_first_nonzero_number() {
        assert_eq!(track("0.1.0"), track("0.1.7"));
        assert_ne!(track("0.1.0"), track("0.2.0"));
        assert_eq!(track("1.0.0"), track("1.4.2"));
        assert_ne!(track("1.0.0"), track("2.0.0"));
        assert_eq!(track("without a version"), None);
    }
}
