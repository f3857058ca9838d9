//! From a file to something that can be instantiated.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Plugin, PluginPre};
use super::engine::engine;
use super::instance::InstanceState;
use crate::storage::StorageError;

/// Reads, checks and compiles the component of the plugin `name`.
pub(super) fn load(name: &str, file: &Path, sha256: Option<&str>) -> Result<PluginPre<InstanceState>, StorageError> {
    let refuse =
        |message: String| StorageError::Configuration(format!("plugin `{name}`: {}: {message}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
    if let Some(expected) = sha256 {
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(expected.trim()) {
            return Err(refuse(format!("its SHA-256 is {found}, but plugins.{name}.sha256 says {expected}")));
        }
    }
    check_kind(&bytes).map_err(refuse)?;
    compile(&bytes).map_err(|error| refuse(format!("{error:#}")))
}

/// Tells a component from what is often mistaken for one.
fn check_kind(bytes: &[u8]) -> Result<(), String> {
    // The magic number and the version, whose upper half tells modules and components apart.
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "this is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or link it \
             with wasm-component-ld"
                .into(),
        ),
        [0, b'a', b's', b'm', ..] => Err("this WebAssembly has a version that this host doesn't know".into()),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err("this is machine code, not a WebAssembly component; precompiled components are not accepted, drop the \
             .wasm itself"
                .into())
        }
        _ => Err("this is no WebAssembly component".into()),
    }
}

fn compile(bytes: &[u8]) -> wasmtime::Result<PluginPre<InstanceState>> {
    let engine = engine()?;
    let component = Component::new(engine, bytes)?;
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    // WASI only for who asks for it: most components compiled from Rust or C don't.
    let wants_wasi = component.component_type().imports(engine).any(|(import, _)| import.starts_with("wasi:"));
    if wants_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    PluginPre::new(linker.instantiate_pre(&component)?)
}
