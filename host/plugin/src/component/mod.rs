//! From a file to something that can be instantiated.

mod cache;
mod circles;
mod core_module;
pub(super) mod file;

use std::path::Path;

use reflow_tracing_storage::StorageError;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Plugin, PluginPre};
use super::engine::engine;
use super::inspect;
use super::instance::InstanceState;
use super::policy::PluginConfig;
pub(super) use cache::CompiledCache;
use file::PluginFile;

/// A component that can be instantiated.
#[derive(Clone)]
pub(super) struct Compiled {
    pub component: PluginPre<InstanceState>,
    /// Of the bytes of the file, in hexadecimal.
    pub sha256: String,
    /// Whether it did not have to be compiled.
    pub from_cache: bool,
}

/// Reads, checks and compiles the component of the plugin `name`.
pub(super) fn load(
    name: &str,
    file: &Path,
    config: &PluginConfig,
    cache: Option<&CompiledCache>,
) -> Result<Compiled, StorageError> {
    let refuse =
        |message: String| StorageError::Configuration(format!("plugin `{name}`: {}: {message}", file.display()));
    config.limits.check(name)?;
    let file = file::read(file).map_err(|problem| refuse(problem.to_string()))?;
    if let Some(expected) = &config.sha256
        && !file.sha256.eq_ignore_ascii_case(expected.trim())
    {
        let message = format!("its SHA-256 is {}, but the configured `sha256` is {expected}", file.sha256);
        return Err(refuse(message));
    }
    inspect::check(&file.component).map_err(refuse)?;
    compile(file, config.limits.stack_kb, cache).map_err(|error| refuse(format!("{error:#}")))
}

fn compile(file: PluginFile, stack_kb: u32, cache: Option<&CompiledCache>) -> wasmtime::Result<Compiled> {
    let engine = &engine(stack_kb)?;
    let PluginFile { component: bytes, sha256, .. } = file;
    let (component, from_cache) = match cache {
        // By what is compiled: what a core module is made into is another matter than the module.
        Some(cache) => cache.compiled(engine, &file::sha256(&bytes), &bytes)?,
        None => (Component::new(engine, &bytes)?, false),
    };
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    // WASI only for who asks for it: most components compiled from Rust or C don't.
    let wants_wasi = component.component_type().imports(engine).any(|(import, _)| import.starts_with("wasi:"));
    if wants_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    }
    let component = PluginPre::new(linker.instantiate_pre(&component)?)?;
    Ok(Compiled { component, sha256, from_cache })
}
