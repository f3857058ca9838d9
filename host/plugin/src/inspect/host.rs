//! The interfaces of this host, read from the files of `wit/`, from which the bindings are generated too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wit_parser::{Function, FunctionKind, Handle, Resolve, SourceMap, Type, TypeDefKind, TypeId};

use super::world::Signature;
use crate::wit;

/// Interfaces by name, such as `reflow:storage/backend`.
pub(super) static INTERFACES: LazyLock<BTreeMap<String, Interface>> = LazyLock::new(read);

/// An interface of this host.
pub(super) struct Interface {
    pub functions: BTreeMap<String, Signature>,
}

fn read() -> BTreeMap<String, Interface> {
    let mut resolve = Resolve::default();
    for package in wit::PACKAGES {
        let mut sources = SourceMap::new();
        for (name, text) in package.files {
            sources.push_str(&format!("wit/{}/{name}", package.folder), *text);
        }
        let parsed = sources.parse().map_err(|(_, error)| error).expect("the bindings are generated from these files");
        resolve.push_group(parsed).expect("the bindings are generated from these files");
    }
    let interface = |(_, interface): (_, &wit_parser::Interface)| {
        let package = &resolve.packages[interface.package?].name;
        let name = format!("{}:{}/{}", package.namespace, package.name, interface.name.as_deref()?);
        let functions =
            interface.functions.iter().map(|(name, function)| (name.clone(), signature(&resolve, function))).collect();
        Some((name, Interface { functions }))
    };
    resolve.interfaces.iter().filter_map(interface).collect()
}

fn signature(resolve: &Resolve, function: &Function) -> Signature {
    let parameters: Vec<_> =
        function.params.iter().map(|parameter| format!("{}: {}", parameter.name, of(resolve, &parameter.ty))).collect();
    let result = function.result.as_ref().map_or_else(String::new, |result| format!(" -> {}", of(resolve, result)));
    let is_async = matches!(
        function.kind,
        FunctionKind::AsyncFreestanding | FunctionKind::AsyncMethod(_) | FunctionKind::AsyncStatic(_)
    );
    Signature { text: format!("func({}){result}", parameters.join(", ")), is_async }
}

fn of(resolve: &Resolve, ty: &Type) -> String {
    let name = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(id) => return of_defined(resolve, *id),
    };
    name.into()
}

fn of_defined(resolve: &Resolve, id: TypeId) -> String {
    let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".into(), |ty| of(resolve, ty));
    let list = |parts: Vec<String>| parts.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Type(ty) => of(resolve, ty),
        TypeDefKind::Resource => resolve.types[id].name.clone().unwrap_or_default(),
        TypeDefKind::Handle(Handle::Own(resource)) => of_defined(resolve, *resource),
        TypeDefKind::Handle(Handle::Borrow(resource)) => format!("borrow<{}>", of_defined(resolve, *resource)),
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, of(resolve, &field.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, of(resolve, ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", list(tuple.types.iter().map(|ty| of(resolve, ty)).collect()))
        }
        TypeDefKind::Option(ty) => format!("option<{}>", of(resolve, ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", optional(&result.ok), optional(&result.err)),
        TypeDefKind::List(ty) => format!("list<{}>", of(resolve, ty)),
        TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", of(resolve, ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", of(resolve, key), of(resolve, value)),
        TypeDefKind::Future(ty) => format!("future<{}>", optional(ty)),
        TypeDefKind::Stream(ty) => format!("stream<{}>", optional(ty)),
        TypeDefKind::Unknown => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interfaces_of_this_host_are_read() {
        let sql = &INTERFACES["reflow:capabilities/sql"];
        assert_eq!(sql.functions["[method]connection.dialect"].text, "func(self: borrow<connection>) -> string");
    }
}
