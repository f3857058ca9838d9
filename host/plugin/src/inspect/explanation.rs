//! What a plugin calls and what it costs to compile.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::contract::OPTIONAL;
use super::world::World;
use super::{InspectError, Inspection, Problem, inspect, read};

/// What a plugin's file is, what it calls, and how much code it has.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// What the file is.
    #[serde(flatten)]
    pub inspection: Inspection,
    /// The functions that it imports, by interface with its version. Tools that link a component leave out those that it never calls.
    pub calls: BTreeMap<String, Vec<String>>,
    /// The optional interfaces of the contract, without their versions, and whether it exports them.
    pub optional_exports: BTreeMap<String, bool>,
}

/// Explains the plugin in `file`. Compiles and runs nothing.
///
/// Fails where [`inspect`] does.
pub fn explain(file: &Path) -> Result<Explanation, InspectError> {
    let inspection = inspect(file)?;
    let refuse = |problem| InspectError { file: file.to_owned(), problem };
    let component = read(file).map_err(refuse)?.component;
    let damaged = |error: String| refuse(Problem::new(error, "it may be truncated or damaged: build or copy it again"));
    let world = World::of(&component).map_err(damaged)?;
    let calls = world.imports.into_iter().filter_map(|item| {
        let functions = item.functions.filter(|functions| !functions.is_empty())?;
        Some((item.name, functions.into_keys().collect()))
    });
    let has = |interface: &str| inspection.exports.iter().any(|export| export.split('@').next() == Some(interface));
    let optional_exports = OPTIONAL.iter().map(|interface| ((*interface).to_owned(), has(interface))).collect();
    Ok(Explanation { calls: calls.collect(), optional_exports, inspection })
}
