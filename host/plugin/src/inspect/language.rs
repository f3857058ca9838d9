//! The language that a component was written in, from what its toolchain left in it.

use wasmparser::{KnownCustom, Parser, Payload};

/// What is known of a component's language.
#[derive(Default)]
struct Traces {
    /// Languages of the component itself, which its toolchain names.
    of_component: Vec<(String, String)>,
    /// Languages and tools of the first core module. Later ones are the adapter for WASI preview 1, and glue.
    of_module: Vec<(String, String)>,
    /// Whose interpreter is among the core modules: the version of `libpython3.14.so`.
    python: Option<String>,
}

/// The language with its version where that is known, such as `Go 1.27.3`; `None` when nothing tells.
pub(super) fn of(component: &[u8]) -> Option<String> {
    let traces = Traces::of(component);
    let find = |list: &[(String, String)], wanted: &str| {
        list.iter().find(|(name, _)| name == wanted).map(|(_, version)| version.clone())
    };
    if let Some(version) = traces.python {
        return Some(format!("Python {version}"));
    }
    if find(&traces.of_component, "JavaScript").is_some() {
        return Some("JavaScript".into());
    }
    let module = &traces.of_module;
    if let Some(version) = find(module, "Go") {
        return Some(format!("Go {}", version.trim_start_matches("go")));
    }
    let with_version = |language: &str, tool: &str| {
        let version = find(module, tool).unwrap_or_default();
        format!("{language} {}", version.split(' ').next().unwrap_or_default()).trim_end().to_owned()
    };
    if find(module, "Rust").is_some() {
        return Some(with_version("Rust", "rustc"));
    }
    if find(module, "Zig").is_some() {
        return Some(with_version("Zig", "Zig"));
    }
    // The standards that clang names, such as C11 and C_plus_plus_17.
    let is_c = |name: &str| name.strip_prefix('C').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let mut languages = module.iter().map(|(name, _)| name.as_str());
    if languages.clone().any(|name| name.starts_with("C_plus_plus")) {
        return Some("C++".into());
    }
    // Zig's compiler for C names no language; the bindings name their generator.
    (languages.any(is_c) || find(module, "wit-bindgen-c").is_some()).then(|| "C".into())
}

impl Traces {
    fn of(component: &[u8]) -> Self {
        let mut traces = Self::default();
        let (mut depth, mut modules) = (0_u32, 0_u32);
        for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
            match payload {
                Payload::ModuleSection { .. } => (depth, modules) = (depth + 1, modules + 1),
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ExportSection(section) if traces.python.is_none() => {
                    let names = section.into_iter().map_while(Result::ok).map(|export| export.name);
                    traces.python = names.filter_map(python).next();
                }
                Payload::CustomSection(section) if depth == 0 || (depth == 1 && modules == 1) => {
                    let KnownCustom::Producers(roles) = section.as_known() else { continue };
                    let list = if depth == 0 { &mut traces.of_component } else { &mut traces.of_module };
                    let tools = roles.into_iter().map_while(Result::ok).flat_map(|role| role.values);
                    list.extend(tools.map_while(Result::ok).map(|tool| (tool.name.into(), tool.version.into())));
                }
                _ => {}
            }
        }
        traces
    }
}

/// 3.14 of `libpython3.14.so:memory_base`, as componentize-py names what links its modules.
fn python(export: &str) -> Option<String> {
    let (version, _) = export.strip_prefix("libpython")?.split_once(".so:")?;
    let is_version = version.len() <= 8 && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_version.then(|| version.into())
}

#[cfg(test)]
mod tests {

    /// A section of these bytes.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).unwrap();
        // A length in five bytes is valid, whatever it is.
        let mut bytes = vec![id];
        bytes.extend((0..4).map(|i| ((len >> (7 * i)) & 0x7f) as u8 | 0x80));
        bytes.push((len >> 28) as u8);
        bytes.extend(content);
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        bytes
    }

    fn producers(roles: &[(&str, &[(&str, &str)])]) -> Vec<u8> {
        let mut content = [text("producers"), vec![roles.len() as u8]].concat();
        for (role, tools) in roles {
            content.extend([text(role), vec![tools.len() as u8]].concat());
            for (tool, version) in *tools {
                content.extend([text(tool), text(version)].concat());
            }
        }
        section(0, &content)
    }

    fn module(sections: &[u8]) -> Vec<u8> {
        section(1, &[b"\0asm\x01\0\0\0", sections].concat())
    }

    fn component(parts: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0".to_vec(), parts.concat()].concat()
    }

    #[test]
    fn the_language_is_that_of_the_first_module_or_the_toolchain() {
        let adapter =
            module(&producers(&[("language", &[("Rust", "")]), ("processed-by", &[("rustc", "1.75.0 (8 2023)")])]));
        let of = |first: &[(&str, &str)], tools: &[(&str, &str)]| {
            let first = module(&producers(&[("language", first), ("processed-by", tools)]));
            super::of(&component(&[first, adapter.clone()]))
        };
        assert_eq!(of(&[("Go", "go1.27.3")], &[]).as_deref(), Some("Go 1.27.3"));
        assert_eq!(of(&[("C11", ""), ("C99", "")], &[("clang", "14")]).as_deref(), Some("C"));
        assert_eq!(of(&[("C11", ""), ("C_plus_plus_17", "")], &[]).as_deref(), Some("C++"));
        assert_eq!(of(&[], &[("wit-bindgen-c", "0.60.0")]).as_deref(), Some("C"));
        // A part of Rust's library is in C.
        assert_eq!(of(&[("C11", ""), ("Rust", "")], &[("rustc", "1.95.0 (5 2026)")]).as_deref(), Some("Rust 1.95.0"));
        assert_eq!(of(&[], &[]), None);

        let engine = module(&producers(&[("language", &[("C_plus_plus_14", ""), ("Rust", "")])]));
        let javascript = producers(&[("language", &[("JavaScript", "")])]);
        assert_eq!(super::of(&component(&[engine, adapter.clone(), javascript])).as_deref(), Some("JavaScript"));

        let exports = section(7, &[vec![1], text("libpython3.14.so:memory_base"), vec![3, 0]].concat());
        assert_eq!(super::of(&component(&[adapter, module(&exports)])).as_deref(), Some("Python 3.14"));
        assert_eq!(super::of(b"\0asm\x0d\0\x01\0\x01\xff"), None, "a damaged file");
    }
}
