//! Loads a plugin's file: reads, checks and compiles it.

use std::path::Path;

use reflow_tracing_storage::StorageError;
use wasmtime::component::{Component, HasSelf, Linker};

use super::Admission;
use super::compile::{self, CodeCache, Compilation, CompilerProcess};
use super::engine::engine;
use super::exports::Exporting;
use super::instance::InstanceState;
use crate::capabilities::state::HostState;
use crate::contract::bindings::{Plugin, PluginPre};
use crate::inspect::{self, PluginFile};
use crate::policy::PluginConfig;

/// A component that can be instantiated.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub component: Exporting,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Whether the compiled code came from the cache.
    pub from_cache: bool,
}

/// Reads, checks and compiles the component of the plugin `name`.
pub(super) fn load(
    name: &str,
    file: &Path,
    config: &PluginConfig,
    cache: Option<&CodeCache>,
    compiler: Option<&CompilerProcess>,
    admission: Option<&Admission>,
) -> Result<Compiled, StorageError> {
    let refuse =
        |message: String| StorageError::Configuration(format!("plugin `{name}`: {}: {message}", file.display()));
    config.limits.check(name)?;
    let path = file;
    let file = inspect::read(path).map_err(|problem| refuse(problem.to_string()))?;
    if let Some(expected) = &config.sha256
        && !file.sha256.eq_ignore_ascii_case(expected.trim())
    {
        let message = format!("its SHA-256 is {}, but the configured `sha256` is {expected}", file.sha256);
        return Err(refuse(message));
    }
    admission.map_or(Ok(()), |admit| admit(name, path, &file.sha256)).map_err(refuse)?;
    inspect::check(&file.component).map_err(refuse)?;
    compile(name, file, config.limits.stack_kb, cache, compiler).map_err(|error| refuse(format!("{error:#}")))
}

fn compile(
    plugin: &str,
    file: PluginFile,
    stack_kb: u32,
    cache: Option<&CodeCache>,
    compiler: Option<&CompilerProcess>,
) -> wasmtime::Result<Compiled> {
    let engine = &engine(stack_kb)?;
    let PluginFile { component: bytes, sha256, .. } = file;
    let compile = |folder| compile::compile(plugin, &Compilation { stack_kb, folder }, &bytes, compiler);
    let (component, from_cache) = match cache {
        // The key is the digest of the component, not of the file, which may be a core module.
        Some(cache) => cache.compiled(engine, &inspect::sha256(&bytes), || compile(Some(cache.folder())))?,
        // SAFETY: the code was compiled just now.
        None => (unsafe { Component::deserialize(engine, compile(None)?) }?, false),
    };
    let mut linker = Linker::<InstanceState>::new(engine);
    Plugin::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| &mut state.host)?;
    // Most components compiled from Rust or C import no WASI, and linking it takes time.
    let imports_wasi = component.component_type().imports(engine).any(|(import, _)| import.starts_with("wasi:"));
    if imports_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    }
    let component = Exporting::new(PluginPre::new(linker.instantiate_pre(&component)?)?, &component);
    Ok(Compiled { component, sha256, from_cache })
}
