//! From a file to something that can be instantiated.

mod cache;
mod file;

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Plugin, PluginPre};
use super::engine::engine;
use super::instance::InstanceState;
use super::policy::PluginConfig;
use crate::storage::StorageError;
pub(super) use cache::CompiledCache;

/// A component that can be instantiated.
#[derive(Clone)]
pub(super) struct Compiled {
    pub component: PluginPre<InstanceState>,
    /// Of the bytes of the component, in hexadecimal.
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
    let bytes = file::read(file, config.sha256.as_deref()).map_err(refuse)?;
    compile(&bytes, config.limits.stack_kb, cache).map_err(|error| refuse(format!("{error:#}")))
}

fn compile(bytes: &[u8], stack_kb: u32, cache: Option<&CompiledCache>) -> wasmtime::Result<Compiled> {
    let engine = &engine(stack_kb)?;
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let (component, from_cache) = match cache {
        Some(cache) => cache.compiled(engine, &sha256, bytes)?,
        None => (Component::new(engine, bytes)?, false),
    };
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    // WASI only for who asks for it: most components compiled from Rust or C don't.
    let wants_wasi = component.component_type().imports(engine).any(|(import, _)| import.starts_with("wasi:"));
    if wants_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    let component = PluginPre::new(linker.instantiate_pre(&component)?)?;
    Ok(Compiled { component, sha256, from_cache })
}
