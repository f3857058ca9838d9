//! The interfaces of this host, read from the files of `wit/`, from which the bindings are generated too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wit_parser::{Resolve, SourceMap};

use super::world::{self, Functions};
use crate::wit;

/// The functions of each interface, by its name, such as `reflow:storage/backend`.
pub(super) static INTERFACES: LazyLock<BTreeMap<String, Functions>> =
    LazyLock::new(|| read().expect("the bindings are generated from these files"));

fn read() -> Result<BTreeMap<String, Functions>, String> {
    let mut resolve = Resolve::default();
    let mut interfaces = BTreeMap::new();
    for package in wit::PACKAGES {
        let mut sources = SourceMap::new();
        for (name, text) in package.files {
            sources.push_str(&format!("wit/{}/{name}", package.name), *text);
        }
        let parsed = sources.parse().map_err(|(_, error)| error.to_string())?;
        let id = resolve.push_group(parsed).map_err(|error| error.to_string())?;
        // Encoded, so that the same code reads the signatures of this host and those of a component.
        let encoded = wit_component::encode(&resolve, id).map_err(|error| error.to_string())?;
        interfaces.extend(world::interfaces(&encoded)?);
    }
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interfaces_of_this_host_are_read() {
        let sql = &INTERFACES["reflow:capabilities/sql"];
        assert_eq!(sql["[method]connection.dialect"].text, "func(self: borrow<connection>) -> string");
    }
}
