//! Compiles a component to machine code, and says how far it is. What was compiled is kept: components and functions.

mod code_cache;
mod function_cache;

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmparser::{Parser, Payload};
use wasmtime::CacheStore;

use super::engine;
pub(super) use code_cache::CodeCache;
use function_cache::FunctionCache;

/// A component with more functions is refused: compiling it would take gigabytes. Those of Python and JavaScript have some
/// tens of thousands.
const MAX_FUNCTIONS: u32 = 200_000;
/// With this many functions, a compilation takes some seconds, and the log mentions it.
const MANY: u32 = 3_000;
/// How often it says how far it is.
const EVERY: Duration = Duration::from_secs(5);

/// Compiles `component` for the engine of plugins with a stack of `stack_kb`. The code is for `Component::deserialize`.
///
/// With a `folder`, functions that were compiled before are taken from a cache there.
pub(super) fn compile(
    plugin: &str,
    stack_kb: u32,
    component: &[u8],
    folder: Option<&Path>,
) -> wasmtime::Result<Vec<u8>> {
    let functions = functions(component)?;
    if functions > MAX_FUNCTIONS {
        return Err(wasmtime::Error::msg(format!(
            "it has {functions} functions, which would take too much time and memory to compile; the maximum is {MAX_FUNCTIONS}: \
             build it with optimization, or of fewer dependencies"
        )));
    }
    let progress = Arc::new(Progress::new(plugin, functions, folder));
    if functions < MANY {
        return progress.compile(stack_kb, component);
    }
    tracing::info!(plugin, "compiling {functions} functions; later starts use the compiled code");
    let start = Instant::now();
    let code = progress.compile(stack_kb, component)?;
    tracing::info!(
        plugin,
        "compiled in {:.1} s; {} functions and adapters were there already",
        start.elapsed().as_secs_f64(),
        progress.found.load(Relaxed)
    );
    Ok(code)
}

/// The number of functions in all modules of a component.
fn functions(component: &[u8]) -> wasmtime::Result<u32> {
    let mut functions = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::CodeSectionStart { count, .. } = payload? {
            functions = functions.saturating_add(count);
        }
    }
    Ok(functions)
}

/// Counts the functions that are asked for.
#[derive(Debug)]
struct Progress {
    plugin: String,
    functions: u32,
    done: AtomicU32,
    found: AtomicU32,
    told: Mutex<Instant>,
    cache: Option<FunctionCache>,
}

impl Progress {
    fn new(plugin: &str, functions: u32, folder: Option<&Path>) -> Self {
        let cache = folder.and_then(|folder| match FunctionCache::open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::debug!("can't use compiled functions in {}: {error}", folder.display());
                None
            }
        });
        let (done, found, told) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::new(Instant::now()));
        Self { plugin: plugin.into(), functions, done, found, told, cache }
    }

    fn compile(self: &Arc<Self>, stack_kb: u32, component: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let code = engine::compiler(stack_kb, Arc::clone(self) as _)?.precompile_component(component)?;
        if let Some(cache) = &self.cache {
            cache.finish();
        }
        Ok(code)
    }

    fn tell(&self) {
        let done = self.done.fetch_add(1, Relaxed);
        // Looking at the clock for each function would cost more than it tells.
        if !done.is_multiple_of(64) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            // What connects the functions with the host is asked for too, and not counted before.
            let done = done.min(self.functions);
            tracing::info!(plugin = self.plugin, "compiling: {done} of {} functions", self.functions);
        }
    }
}

impl CacheStore for Progress {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.tell();
        let code = self.cache.as_ref()?.get(key)?;
        self.found.fetch_add(1, Relaxed);
        Some(code)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.insert(key, value))
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::*;

    /// An unsigned number as WebAssembly encodes it.
    fn leb(mut number: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id][..], &leb(content.len() as u32), content].concat()
    }

    /// A component with one module of functions: each returns its number.
    fn component(functions: u32) -> Vec<u8> {
        let body = |number: u32| {
            // i32.const takes a signed number: a leading 0 keeps it positive.
            let code = [&[0, 0x41][..], &leb(number | 0x0800_0000), &[0x0b]].concat();
            [leb(code.len() as u32), code].concat()
        };
        let types = section(1, &[1, 0x60, 0, 1, 0x7f]);
        let declared = section(3, &[leb(functions), vec![0; functions as usize]].concat());
        let code = section(10, &[leb(functions), (0..functions).flat_map(body).collect()].concat());
        let module = [&b"\0asm\x01\0\0\0"[..], &types, &declared, &code].concat();
        [&b"\0asm\x0d\0\x01\0"[..], &section(1, &module)].concat()
    }

    #[test]
    fn a_second_build_compiles_only_the_functions_that_changed() {
        let folder = tempfile::tempdir().unwrap();
        let compiled = |functions| {
            let progress = Arc::new(Progress::new("p", functions, Some(folder.path())));
            let code = progress.compile(1024, &component(functions)).unwrap();
            // SAFETY: the code was compiled just now.
            unsafe { Component::deserialize(&engine::engine(1024).unwrap(), code) }.unwrap();
            (progress.done.load(Relaxed), progress.found.load(Relaxed))
        };
        let (asked, found) = compiled(10);
        // Beside the functions, the engine compiles some that connect them with the host.
        assert!(asked >= 10 && found == 0, "{asked} {found}");
        assert_eq!(compiled(10), (asked, asked));
        assert_eq!(compiled(12), (asked + 2, asked));
    }

    #[test]
    fn a_component_with_too_many_functions_is_refused_before_it_is_compiled() {
        assert_eq!(functions(&component(3)).unwrap(), 3);
        let error = compile("p", 1024, &component(MAX_FUNCTIONS + 1), None).unwrap_err().to_string();
        assert!(error.contains("200001 functions") && error.contains("200000"), "{error}");
    }
}
