//! Packages that use each other in a circle: no world can be written that way, but a file can be made to say so, and what
//! reads worlds would follow the circle for ever.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeDeclaration,
    ComponentTypeRef, InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

/// A package, and those whose types it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Refuses the embedded worlds of a core module when their packages use each other in a circle. Fails on damaged ones too.
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
    match in_a_circle(uses) {
        None => Ok(()),
        Some(package) => Err(format!("the package {package} uses itself by way of others")),
    }
}

/// What is known of the types of a component type, by their indexes.
#[derive(Default)]
struct Scope {
    /// The package that a type comes from, if it comes from one.
    origins: Vec<Option<String>>,
    /// The packages whose types an instance type uses.
    used: Vec<BTreeSet<String>>,
    /// The packages of instances.
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

    /// Something that is imported or exported under `name`.
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

/// The packages whose types an instance type takes from around it.
fn used_by(ty: &ComponentType<'_>, around: &Scope) -> BTreeSet<String> {
    let ComponentType::Instance(declarations) = ty else { return BTreeSet::new() };
    let used = declarations.iter().filter_map(|declaration| match declaration {
        InstanceTypeDeclaration::Alias(ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::Type,
            count: 1,
            index,
        }) => around.origin(*index),
        _ => None,
    });
    used.collect()
}

/// A package that is in a circle or only used by some that are.
fn in_a_circle(mut uses: Uses) -> Option<String> {
    loop {
        // Those that use nobody who is left are in none.
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

    fn circle(uses: &[(&str, &[&str])]) -> bool {
        let uses = uses.iter().map(|(name, used)| ((*name).into(), used.iter().map(|used| (*used).into()).collect()));
        in_a_circle(uses.collect()).is_some()
    }

    #[test]
    fn a_circle_is_told_from_a_chain() {
        assert!(!circle(&[]));
        assert!(!circle(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]));
        assert!(circle(&[("a", &["b"]), ("b", &["a"])]));
        assert!(circle(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]));
    }

    #[test]
    fn a_package_is_named_with_its_version() {
        assert_eq!(package_of("wasi:io/streams@0.2.6"), "wasi:io@0.2.6");
        assert_eq!(package_of("local:thing/part"), "local:thing");
    }
}
