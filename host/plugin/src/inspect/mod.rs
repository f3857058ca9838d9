//! What a plugin's file is and wants, without running or compiling it.

mod contract;
mod host;
mod wasi;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wasmparser::{KnownCustom, Parser, Payload};

use super::component::file::{self, PluginFile};
use super::policy::Grants;
use contract::Contract;

/// Something that keeps a component from working with this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)
    }
}

/// A file that can't be a plugin.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct InspectError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A component.
    Component,
    /// A core module with an embedded world, which the host makes a component when it loads it.
    CoreModule,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::CoreModule => "core module with an embedded world, made a component when it is loaded",
        })
    }
}

/// Languages and tools by role, with their versions.
type Producers = BTreeMap<String, BTreeMap<String, String>>;

/// What a plugin's file is and wants.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// What it holds.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// The version of the contract that it was built for; absent when it exports no backend.
    pub contract: Option<String>,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// The capabilities that it imports: `sql`, `log`, ...
    pub capabilities: Vec<String>,
    /// The languages and tools that it was made with, by role, with their versions.
    pub producers: Producers,
    /// What keeps it from working with this host.
    pub problems: Vec<Problem>,
}

/// Capabilities that every plugin has.
const ALWAYS_GRANTED: &[&str] = &["config", "log", "metrics"];

impl Inspection {
    /// The capabilities that the operator has to grant before they can be used.
    pub fn needs_grants(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().map(String::as_str).filter(|capability| !ALWAYS_GRANTED.contains(capability))
    }

    /// Of [`needs_grants`](Self::needs_grants), those of which `grants` has nothing.
    pub fn not_in(&self, grants: &Grants) -> Vec<&str> {
        self.needs_grants().filter(|capability| !grants.has(capability)).collect()
    }
}

/// Looks at the plugin in `file`: what it is, what it wants, and whether this host can give it that.
///
/// Fails on what is neither a component nor a core module with an embedded world.
pub fn inspect(file: &Path) -> Result<Inspection, InspectError> {
    let refuse = |problem| InspectError { file: file.to_owned(), problem };
    let PluginFile { kind, component, sha256, bytes } = file::read(file).map_err(refuse)?;
    let contract = Contract::of(&component).map_err(refuse)?;
    Ok(Inspection {
        file: file.to_owned(),
        kind,
        bytes,
        sha256,
        contract: contract.version,
        imports: contract.imports,
        exports: contract.exports,
        capabilities: contract.capabilities,
        producers: producers(&component),
        problems: contract.problems,
    })
}

/// The world of the component in `file`, in WIT. Only for files of one's own: unlike [`inspect`], this is no match for one
/// that was made to break its reader.
pub fn world_of(file: &Path) -> Result<String, InspectError> {
    let refuse = |problem| InspectError { file: file.to_owned(), problem };
    let component = file::read(file).map_err(refuse)?.component;
    let print = || {
        let decoded = wit_component::decode(&component)?;
        let mut printer = wit_component::WitPrinter::default();
        printer.print(decoded.resolve(), decoded.package(), &[])?;
        Ok(String::from(printer.output))
    };
    print().map_err(|error: Box<dyn std::error::Error>| {
        refuse(Problem::new(format!("its world can't be told: {error}"), "build it or copy it again"))
    })
}

/// Checks that this host can give a component what it wants. The error tells every problem.
pub(super) fn check(component: &[u8]) -> Result<(), String> {
    let contract = Contract::of(component).map_err(|problem| problem.to_string())?;
    match contract.problems.as_slice() {
        [] => Ok(()),
        [problem] => Err(problem.to_string()),
        problems => Err(problems.iter().map(|problem| format!("\n  - {problem}")).collect()),
    }
}

/// What the component and the modules in it were made with; nothing when it doesn't say.
fn producers(component: &[u8]) -> Producers {
    let mut all = Producers::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Ok(Payload::CustomSection(section)) = payload
            && let KnownCustom::Producers(roles) = section.as_known()
        {
            for role in roles.into_iter().map_while(Result::ok) {
                let made = all.entry(role.name.into()).or_default();
                for with in role.values.into_iter().map_while(Result::ok) {
                    made.insert(with.name.into(), with.version.into());
                }
            }
        }
    }
    all
}
