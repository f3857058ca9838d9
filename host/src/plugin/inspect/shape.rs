//! Signatures as text in which names of types don't matter: two functions are linked exactly when these are equal.

use wit_parser::{Function, FunctionKind, Handle, Resolve, Type, TypeDefKind, TypeId};

/// The signature of `function`.
pub(super) fn of_function(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<_> =
        function.params.iter().map(|parameter| format!("{}: {}", parameter.name, of(resolve, &parameter.ty))).collect();
    let result = function.result.as_ref().map_or_else(String::new, |result| format!(" -> {}", of(resolve, result)));
    let kind = if is_async(function) { "async func" } else { "func" };
    format!("{kind}({}){result}", parameters.join(", "))
}

/// Whether it is a function of the component model's own concurrency.
pub(super) fn is_async(function: &Function) -> bool {
    matches!(
        function.kind,
        FunctionKind::AsyncFreestanding | FunctionKind::AsyncMethod(_) | FunctionKind::AsyncStatic(_)
    )
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
