//! Compiles a component to machine code, and says how far it is.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmparser::{Parser, Payload};
use wasmtime::{CacheStore, Engine};

use super::engine;
use super::function_cache::FunctionCache;

/// A component with more functions is refused: compiling it would take gigabytes. Those of Python and JavaScript have some
/// tens of thousands.
const MAX_FUNCTIONS: u32 = 200_000;
/// The log tells of a compilation of so many functions, which takes some seconds.
const MANY: u32 = 3_000;
/// How often it says how far it is.
const EVERY: Duration = Duration::from_secs(5);

/// Compiles `component` for `engine`, whose plugins have a stack of `stack_kb`. The code is for `Component::deserialize`.
///
/// With a `folder`, functions that were compiled before are taken from a cache there.
pub(super) fn compile(
    plugin: &str,
    engine: &Engine,
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
    let cache = folder.and_then(|folder| match FunctionCache::open(folder) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::debug!("can't use compiled functions in {}: {error}", folder.display());
            None
        }
    });
    let progress = Arc::new(Progress {
        plugin: plugin.into(),
        functions,
        done: AtomicU32::new(0),
        found: AtomicU32::new(0),
        told: Mutex::new(Instant::now()),
        cache,
    });
    if functions >= MANY {
        tracing::info!(plugin, "compiling {functions} functions; later starts use the compiled code");
    }
    let start = Instant::now();
    let with_progress = engine::compiler(stack_kb, Arc::clone(&progress) as _)?;
    let code = match hash(&with_progress) == hash(engine) {
        true => with_progress.precompile_component(component)?,
        false => engine.precompile_component(component)?,
    };
    if let Some(cache) = &progress.cache {
        cache.finish();
    }
    if functions >= MANY {
        let found = progress.found.load(Relaxed);
        tracing::info!(
            plugin,
            "compiled in {:.1} s; {found} functions and adapters were there already",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(code)
}

/// What compiled code depends on beside its source.
fn hash(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The number of functions in all modules of a component.
pub(super) fn functions(component: &[u8]) -> wasmtime::Result<u32> {
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
