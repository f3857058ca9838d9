//! Inspects a plugin's file without compiling or running it.

mod code;
mod contract;
mod core_module;
mod explanation;
mod file;
mod host;
mod implied_world;
mod language;
mod package_cycles;
mod problem;
mod wasi;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wasmparser::{KnownCustom, Parser, Payload};

use super::policy::Grants;
pub use code::Code;
use contract::Contract;
pub use explanation::{Explanation, explain};
pub(crate) use file::{PluginFile, read, sha256};
pub use problem::{Kind, Problem};

/// A file that can't be a plugin.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct InspectError {
    /// The file.
    pub file: PathBuf,
    /// The problem with it.
    pub problem: Problem,
}

/// Languages and tools by role, with their versions.
type Producers = BTreeMap<String, BTreeMap<String, String>>;

/// What a plugin's file is and what it may use.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// Its kind.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The contract version that it was built for; `None` when it exports no backend.
    pub contract: Option<String>,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// The capabilities that it imports: `sql`, `log`, ...
    pub capabilities: Vec<String>,
    /// The language that it was written in, with its version where that is known.
    pub language: Option<String>,
    /// The languages and tools that it was built with, by role, with their versions.
    pub producers: Producers,
    /// Its code.
    pub code: Code,
    /// Why it can't run on this host. Empty when it can.
    pub problems: Vec<Problem>,
}

/// Capabilities that every plugin has.
const ALWAYS_GRANTED: &[&str] = &["config", "log", "metrics", "render"];

impl Inspection {
    /// The imported capabilities that need a grant. The plugin may use them; toolchains of some languages import everything that a
    /// world offers, whether it is used or not.
    pub fn may_use(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().map(String::as_str).filter(|capability| !ALWAYS_GRANTED.contains(capability))
    }

    /// The imported capabilities that need no grant.
    pub fn always_granted(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().map(String::as_str).filter(|capability| ALWAYS_GRANTED.contains(capability))
    }

    /// Those of [`may_use`](Self::may_use) for which `grants` has no grant. A call of one fails with an error that names it.
    pub fn not_granted(&self, grants: &Grants) -> Vec<&str> {
        self.may_use().filter(|capability| !grants.has(capability)).collect()
    }
}

/// Inspects the plugin in `file`: what it is, what it may use, and whether it can run on this host.
///
/// Fails when the file is neither a component nor a core module that can be converted to one.
pub fn inspect(file: &Path) -> Result<Inspection, InspectError> {
    let refuse = |problem| InspectError { file: file.to_owned(), problem };
    let PluginFile { kind, component, sha256, bytes } = read(file).map_err(refuse)?;
    let contract = Contract::of(&component).map_err(refuse)?;
    // What is damaged is a problem of the contract.
    let code = Code::of(&component).unwrap_or_default();
    let too_much =
        code.check().err().map(|refusal| Problem::new(refusal, "build it with optimization, or of fewer dependencies"));
    Ok(Inspection {
        file: file.to_owned(),
        kind,
        bytes,
        sha256,
        contract: contract.version,
        imports: contract.imports,
        exports: contract.exports,
        capabilities: contract.capabilities,
        language: language::of(&component),
        producers: producers(&component),
        code,
        problems: contract.problems.into_iter().chain(too_much).collect(),
    })
}

/// The world of the component in `file`, in WIT. Only for trusted files: unlike [`inspect`], it does not withstand a file
/// crafted to break the parser.
pub fn world_of(file: &Path) -> Result<String, InspectError> {
    let refuse = |problem| InspectError { file: file.to_owned(), problem };
    let component = read(file).map_err(refuse)?.component;
    let print = || {
        let decoded = wit_component::decode(&component)?;
        let mut printer = wit_component::WitPrinter::default();
        printer.print(decoded.resolve(), decoded.package(), &[])?;
        Ok(String::from(printer.output))
    };
    print().map_err(|error: Box<dyn std::error::Error>| {
        refuse(Problem::new(format!("can't print its world: {error}"), "build or copy it again"))
    })
}

/// Checks that a component can run on this host. The error lists every problem.
pub(super) fn check(component: &[u8]) -> Result<(), String> {
    let contract = Contract::of(component).map_err(|problem| problem.to_string())?;
    match contract.problems.as_slice() {
        [] => Ok(()),
        [problem] => Err(problem.to_string()),
        problems => Err(problems.iter().map(|problem| format!("\n  - {problem}")).collect()),
    }
}

/// The `producers` sections of the component and its modules.
fn producers(component: &[u8]) -> Producers {
    let mut all = Producers::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Ok(Payload::CustomSection(section)) = payload
            && let KnownCustom::Producers(roles) = section.as_known()
        {
            for role in roles.into_iter().map_while(Result::ok) {
                let tools = all.entry(role.name.into()).or_default();
                for tool in role.values.into_iter().map_while(Result::ok) {
                    tools.insert(tool.name.into(), tool.version.into());
                }
            }
        }
    }
    all
}
