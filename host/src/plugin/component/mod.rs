//! From a file to something that can be instantiated.

mod file;

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Plugin, PluginPre};
use super::engine::engine;
use super::instance::InstanceState;
use super::policy::PluginConfig;
use crate::storage::StorageError;

/// Reads, checks and compiles the component of the plugin `name`.
pub(super) fn load(name: &str, file: &Path, config: &PluginConfig) -> Result<PluginPre<InstanceState>, StorageError> {
    let refuse =
        |message: String| StorageError::Configuration(format!("plugin `{name}`: {}: {message}", file.display()));
    config.limits.check(name)?;
    let bytes = file::read(file, config.sha256.as_deref()).map_err(refuse)?;
    let engine = engine(config.limits.stack_kb).map_err(|error| refuse(format!("{error:#}")))?;
    compile(&engine, &bytes).map_err(|error| refuse(format!("{error:#}")))
}

fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<PluginPre<InstanceState>> {
    let component = Component::new(engine, bytes)?;
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    // WASI only for who asks for it: most components compiled from Rust or C don't.
    let wants_wasi = component.component_type().imports(engine).any(|(import, _)| import.starts_with("wasi:"));
    if wants_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    }
    PluginPre::new(linker.instantiate_pre(&component)?)
}
