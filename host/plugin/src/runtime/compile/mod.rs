//! Compiles a component to machine code, and says how far it is. What was compiled is kept: components and functions.

mod code_cache;
mod function_cache;
mod process;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::CacheStore;

use super::engine;
use crate::inspect::Code;
pub(super) use code_cache::CodeCache;
use function_cache::FunctionCache;
pub use process::{CompilerProcess, run_compiler};

/// With this many functions, a compilation takes some seconds, and the log mentions it.
const MANY: u32 = 3_000;
/// How often it says how far it is.
const EVERY: Duration = Duration::from_secs(5);

/// What the code of a component depends on, besides the component.
pub(super) struct Compilation<'a> {
    /// The code is for the engine of plugins with a stack of so many KiB.
    pub stack_kb: u32,
    /// Functions that were compiled before are taken from a cache in this folder.
    pub folder: Option<&'a Path>,
}

/// Machine code, for `Component::deserialize`.
pub(super) struct Machine {
    pub code: Vec<u8>,
    /// The functions and adapters that had been compiled before.
    found: u32,
}

/// Compiles the `component` of `plugin`, in a process of its own if there is one to do that. Refuses one whose code is too large
/// before it begins.
pub(super) fn compile(
    plugin: &str,
    compilation: &Compilation<'_>,
    component: &[u8],
    process: Option<&CompilerProcess>,
) -> wasmtime::Result<Vec<u8>> {
    let size = Code::of(component)?;
    size.check().map_err(wasmtime::Error::msg)?;
    let compile = || match process {
        Some(process) => process.compile(compilation, component, |progress| tracing::info!(plugin, "{progress}")),
        None => {
            let plugin = plugin.to_owned();
            let tell = move |done, functions| tracing::info!(plugin, "compiling: {done} of {functions} functions");
            compilation.run(component, tell)
        }
    };
    if size.functions < MANY {
        return Ok(compile()?.code);
    }
    tracing::info!(plugin, "compiling {} functions; later starts use the compiled code", size.functions);
    let start = Instant::now();
    let Machine { code, found } = compile()?;
    tracing::info!(
        plugin,
        "compiled in {:.1} s; {found} functions and adapters were there already",
        start.elapsed().as_secs_f64()
    );
    Ok(code)
}

impl Compilation<'_> {
    /// Compiles in this process. Tells from time to time how many of how many functions are done.
    fn run(&self, component: &[u8], tell: impl Fn(u32, u32) + Send + Sync + 'static) -> wasmtime::Result<Machine> {
        let progress = Arc::new(Progress::new(Code::of(component)?.functions, self.folder, tell));
        let engine = engine::compiler(self.stack_kb, Arc::clone(&progress) as _)?;
        let code = engine.precompile_component(component)?;
        if let Some(cache) = &progress.cache {
            cache.finish();
        }
        Ok(Machine { code, found: progress.found.load(Relaxed) })
    }
}

/// Counts the functions that are asked for.
struct Progress<F> {
    functions: u32,
    done: AtomicU32,
    found: AtomicU32,
    told: Mutex<Instant>,
    cache: Option<FunctionCache>,
    tell: F,
}

impl<F: Fn(u32, u32)> Progress<F> {
    fn new(functions: u32, folder: Option<&Path>, tell: F) -> Self {
        let cache = folder.and_then(|folder| match FunctionCache::open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::debug!("can't use compiled functions in {}: {error}", folder.display());
                None
            }
        });
        let (done, found, told) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::new(Instant::now()));
        Self { functions, done, found, told, cache, tell }
    }

    fn count(&self) {
        let done = self.done.fetch_add(1, Relaxed);
        // Looking at the clock for each function would cost more than it tells.
        if !done.is_multiple_of(64) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            // What connects the functions with the host is asked for too, and not counted before.
            (self.tell)(done.min(self.functions), self.functions);
        }
    }
}

impl<F> fmt::Debug for Progress<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").field("functions", &self.functions).finish_non_exhaustive()
    }
}

impl<F: Fn(u32, u32) + Send + Sync + 'static> CacheStore for Progress<F> {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.count();
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
            let progress = Arc::new(Progress::new(functions, Some(folder.path()), |_, _| {}));
            let compiler = engine::compiler(1024, Arc::clone(&progress) as _).unwrap();
            let code = compiler.precompile_component(&component(functions)).unwrap();
            progress.cache.as_ref().unwrap().finish();
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
        assert_eq!(Code::of(&component(3)).unwrap().functions, 3);
        let compilation = Compilation { stack_kb: 1024, folder: None };
        let error = compile("p", &compilation, &component(200_001), None).unwrap_err().to_string();
        assert!(error.contains("200001 functions") && error.contains("200000"), "{error}");
    }
}
