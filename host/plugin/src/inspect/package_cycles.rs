//! Detects cyclic dependencies between packages. WIT can't express them, but a crafted file can contain them, and the
//! decoder of worlds would never end.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeDeclaration,
    ComponentTypeRef, InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

/// Packages, and the packages whose types they use.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Refuses a core module whose embedded worlds have cyclic or damaged packages.
pub(super) fn refuse(module: &[u8]) -> Result<(), String> {
    let mut uses = Uses::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.map_err(|error| error.to_string())?
            && section.name().starts_with("component-type")
        {
            for payload in Parser::new(0).parse_all(section.data()) {
                if let Payload::ComponentTypeSection(types) = payload.map_err(|error| error.to_string())? {
                    for ty in types {
                        collect(&ty.map_err(|error| error.to_string())?, &mut uses);
                    }
                }
            }
        }
    }
    match find_cycle(uses) {
        None => Ok(()),
        Some(package) => Err(format!("the package {package} depends on itself through other packages")),
    }
}

/// The index spaces of a component type.
#[derive(Default)]
struct Scope {
    /// The package of each type, if it comes from one.
    origins: Vec<Option<String>>,
    /// The packages that each instance type uses.
    used: Vec<BTreeSet<String>>,
    /// The package of each instance.
    instances: Vec<String>,
}

impl Scope {
    fn add_type(&mut self, origin: Option<String>, used: BTreeSet<String>) {
        self.origins.push(origin);
        self.used.push(used);
    }

    fn origin(&self, index: u32) -> Option<String> {
        self.origins.get(index as usize).cloned().flatten()
    }

    /// Adds an import or export.
    fn add_item(&mut self, name: &str, ty: ComponentTypeRef, uses: &mut Uses) {
        match ty {
            ComponentTypeRef::Instance(index) => {
                let package = package_of(name);
                let used = self.used.get(index as usize).cloned().unwrap_or_default();
                uses.entry(package.clone()).or_default().extend(used.into_iter().filter(|other| *other != package));
                self.instances.push(package);
            }
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => self.add_type(self.origin(index), BTreeSet::new()),
            ComponentTypeRef::Type(TypeBounds::SubResource) => self.add_type(None, BTreeSet::new()),
            _ => {}
        }
    }
}

/// The package of `package:of/interface@version`, with the version.
fn package_of(name: &str) -> String {
    let (package, interface) = name.split_once('/').unwrap_or((name, ""));
    match interface.split_once('@') {
        Some((_, version)) => format!("{package}@{version}"),
        None => package.to_owned(),
    }
}

fn collect(ty: &ComponentType<'_>, uses: &mut Uses) {
    let ComponentType::Component(declarations) = ty else { return };
    let mut scope = Scope::default();
    for declaration in declarations {
        match declaration {
            ComponentTypeDeclaration::Type(ty) => {
                collect(ty, uses);
                let used = used_by(ty, &scope);
                scope.add_type(None, used);
            }
            ComponentTypeDeclaration::Alias(ComponentAlias::InstanceExport { kind, instance_index, .. }) => {
                let package = scope.instances.get(*instance_index as usize).cloned();
                match kind {
                    ComponentExternalKind::Type => scope.add_type(package, BTreeSet::new()),
                    ComponentExternalKind::Instance => scope.instances.push(package.unwrap_or_default()),
                    _ => {}
                }
            }
            ComponentTypeDeclaration::Alias(ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. }) => {
                scope.add_type(None, BTreeSet::new());
            }
            ComponentTypeDeclaration::Import(import) => scope.add_item(import.name.name, import.ty, uses),
            ComponentTypeDeclaration::Export { name, ty } => scope.add_item(name.name, *ty, uses),
            _ => {}
        }
    }
}

/// The packages whose types an instance type takes from its outer scope.
fn used_by(ty: &ComponentType<'_>, outer: &Scope) -> BTreeSet<String> {
    let ComponentType::Instance(declarations) = ty else { return BTreeSet::new() };
    let used = declarations.iter().filter_map(|declaration| match declaration {
        InstanceTypeDeclaration::Alias(ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::Type,
            count: 1,
            index,
        }) => outer.origin(*index),
        _ => None,
    });
    used.collect()
}

/// A package on a cycle, or one that depends on a cycle.
fn find_cycle(mut uses: Uses) -> Option<String> {
    loop {
        // A package that uses none of the remaining ones is not on a cycle.
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        let before = uses.len();
        uses.retain(|_, used| used.iter().any(|other| left.contains(other)));
        if uses.len() == before {
            return uses.into_keys().next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_cycle(uses: &[(&str, &[&str])]) -> bool {
        let uses = uses.iter().map(|(name, used)| ((*name).into(), used.iter().map(|used| (*used).into()).collect()));
        find_cycle(uses.collect()).is_some()
    }

    #[test]
    fn a_cycle_is_distinguished_from_a_chain() {
        assert!(!has_cycle(&[]));
        assert!(!has_cycle(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]));
        assert!(has_cycle(&[("a", &["b"]), ("b", &["a"])]));
        assert!(has_cycle(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]));
    }

    #[test]
    fn a_package_is_named_with_its_version() {
        assert_eq!(package_of("wasi:io/streams@0.2.6"), "wasi:io@0.2.6");
        assert_eq!(package_of("local:thing/part"), "local:thing");
    }
}
