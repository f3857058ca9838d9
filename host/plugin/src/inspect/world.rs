//! Reads a component's imports and exports from its type.
//!
//! Uses the parser that wasmtime validates with, because it is built for untrusted files.

use std::collections::{BTreeMap, HashMap};

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId,
    ComponentItem, ComponentValType, ResourceId,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, PrimitiveValType, ValidPayload, Validator, WasmFeatures};

/// The imports and exports of a component, in order.
pub(super) struct World {
    pub imports: Vec<Item>,
    pub exports: Vec<Item>,
}

/// An import or export.
pub(super) struct Item {
    /// `reflow:storage/backend@0.1.0`
    pub name: String,
    /// The functions of an interface; `None` for other items.
    pub functions: Option<Functions>,
}

/// The functions of an interface, by name.
pub(super) type Functions = BTreeMap<String, Signature>;

/// The signature of a function as text, without type names except those of resources. Two functions link exactly when their
/// signatures are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub text: String,
    /// Whether it is an async function of the component model.
    pub is_async: bool,
}

impl World {
    /// Fails when the bytes are not a component, or a damaged one.
    pub(super) fn of(component: &[u8]) -> Result<Self, String> {
        let Outline { imports, exports, types } = Outline::of(component)?;
        let item = |item: Option<&ComponentItem>, name: String| match item.map(|item| item.ty) {
            Some(ComponentEntityType::Instance(id)) => Item { name, functions: Some(functions(&types, id)) },
            _ => Item { name, functions: None },
        };
        let import = |name: String| item(types.component_item_for_import(&name), name);
        let export = |name: String| item(types.component_item_for_export(&name), name);
        Ok(Self {
            imports: imports.into_iter().map(import).collect(),
            exports: exports.into_iter().map(export).collect(),
        })
    }
}

/// The interfaces of an encoded WIT package, by their names without versions. The package exports each as a component type
/// that exports an instance.
pub(super) fn interfaces(package: &[u8]) -> Result<BTreeMap<String, Functions>, String> {
    let Outline { exports, types, .. } = Outline::of(package)?;
    let mut interfaces = BTreeMap::new();
    for export in exports {
        let item = types.component_item_for_export(&export).map(|item| item.ty);
        let Some(ComponentEntityType::Type { referenced: ComponentAnyTypeId::Component(id), .. }) = item else {
            continue;
        };
        for (name, item) in &types[id].exports {
            if let ComponentEntityType::Instance(id) = item.ty {
                let name = name.split('@').next().unwrap_or_default();
                interfaces.insert(name.to_owned(), functions(&types, id));
            }
        }
    }
    Ok(interfaces)
}

/// The names of a component's imports and exports, and its types.
struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
    types: Types,
}

impl Outline {
    fn of(component: &[u8]) -> Result<Self, String> {
        // All features, so that unsupported ones are reported by the engine when it compiles.
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let (mut imports, mut exports, mut types) = (Vec::new(), Vec::new(), None);
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(|error| error.to_string())?;
            match &payload {
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section.clone() {
                        imports.push(import.map_err(|error| error.to_string())?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section.clone() {
                        exports.push(export.map_err(|error| error.to_string())?.name.name.to_owned());
                    }
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                _ => {}
            }
            // Function bodies are validated by the engine when it compiles them.
            if let ValidPayload::End(end_types) = validator.payload(&payload).map_err(|error| error.to_string())? {
                types = Some(end_types);
            }
        }
        Ok(Self { imports, exports, types: types.ok_or("it is truncated")? })
    }
}

fn functions(types: &Types, id: ComponentInstanceTypeId) -> Functions {
    let exports = &types[id].exports;
    let resources = exports.iter().filter_map(|(name, item)| match item.ty {
        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
            Some((id.resource(), name.as_str()))
        }
        _ => None,
    });
    let writer = Writer { types, resources: resources.collect() };
    let function = |(name, item): (&String, &ComponentItem)| match item.ty {
        ComponentEntityType::Func(id) => Some((name.clone(), writer.signature(id))),
        _ => None,
    };
    exports.iter().filter_map(function).collect()
}

/// Nesting of types beyond this depth is cut off. No contract nests deeper.
const MAX_DEPTH: usize = 64;

struct Writer<'a> {
    types: &'a Types,
    /// The interface's names of its resources.
    resources: HashMap<ResourceId, &'a str>,
}

impl Writer<'_> {
    fn signature(&self, id: ComponentFuncTypeId) -> Signature {
        let function = &self.types[id];
        let parameters: Vec<_> =
            function.params.iter().map(|(name, ty)| format!("{name}: {}", self.value(ty, 0))).collect();
        let result = function.result.as_ref().map_or_else(String::new, |ty| format!(" -> {}", self.value(ty, 0)));
        Signature { text: format!("func({}){result}", parameters.join(", ")), is_async: function.async_ }
    }

    fn value(&self, ty: &ComponentValType, depth: usize) -> String {
        match ty {
            ComponentValType::Primitive(ty) => primitive(*ty).into(),
            ComponentValType::Type(_) if depth == MAX_DEPTH => "..".into(),
            ComponentValType::Type(id) => self.defined(&self.types[*id], depth + 1),
        }
    }

    fn defined(&self, ty: &ComponentDefinedType, depth: usize) -> String {
        let value = |ty: &ComponentValType| self.value(ty, depth);
        let optional = |ty: &Option<ComponentValType>| ty.as_ref().map_or_else(|| "_".into(), value);
        let resource = |id: ResourceId| self.resources.get(&id).copied().unwrap_or("resource");
        let list = |parts: Vec<String>| parts.join(", ");
        match ty {
            ComponentDefinedType::Primitive(ty) => primitive(*ty).into(),
            ComponentDefinedType::Own(id) => resource(id.resource()).into(),
            ComponentDefinedType::Borrow(id) => format!("borrow<{}>", resource(id.resource())),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| format!("{name}: {}", value(ty)));
                format!("record {{ {} }}", list(fields.collect()))
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| match &case.ty {
                    Some(ty) => format!("{name}({})", value(ty)),
                    None => name.to_string(),
                });
                format!("variant {{ {} }}", list(cases.collect()))
            }
            ComponentDefinedType::Enum(cases) => {
                format!("enum {{ {} }}", list(cases.iter().map(ToString::to_string).collect()))
            }
            ComponentDefinedType::Flags(flags) => {
                format!("flags {{ {} }}", list(flags.iter().map(ToString::to_string).collect()))
            }
            ComponentDefinedType::Tuple(tuple) => format!("tuple<{}>", list(tuple.types.iter().map(value).collect())),
            ComponentDefinedType::Option { ty, .. } => format!("option<{}>", value(ty)),
            ComponentDefinedType::Result { ok, err, .. } => format!("result<{}, {}>", optional(ok), optional(err)),
            ComponentDefinedType::List { element, .. } => format!("list<{}>", value(element)),
            ComponentDefinedType::FixedLengthList { element, length, .. } => {
                format!("list<{}, {length}>", value(element))
            }
            ComponentDefinedType::Map { key, value: of, .. } => format!("map<{}, {}>", value(key), value(of)),
            ComponentDefinedType::Future { ty, .. } => format!("future<{}>", optional(ty)),
            ComponentDefinedType::Stream { ty, .. } => format!("stream<{}>", optional(ty)),
        }
    }
}

fn primitive(ty: PrimitiveValType) -> &'static str {
    match ty {
        PrimitiveValType::Bool => "bool",
        PrimitiveValType::S8 => "s8",
        PrimitiveValType::U8 => "u8",
        PrimitiveValType::S16 => "s16",
        PrimitiveValType::U16 => "u16",
        PrimitiveValType::S32 => "s32",
        PrimitiveValType::U32 => "u32",
        PrimitiveValType::S64 => "s64",
        PrimitiveValType::U64 => "u64",
        PrimitiveValType::F32 => "f32",
        PrimitiveValType::F64 => "f64",
        PrimitiveValType::Char => "char",
        PrimitiveValType::String => "string",
        PrimitiveValType::ErrorContext => "error-context",
    }
}
