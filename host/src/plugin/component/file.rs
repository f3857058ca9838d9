//! From a file to the bytes of a component.

use std::path::Path;

use sha2::{Digest, Sha256};

/// Reads `file`, checks its digest against `sha256` (in hexadecimal) when there is one, and that it is a component. Says
/// what is wrong with it.
pub(super) fn read(file: &Path, sha256: Option<&str>) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    if let Some(expected) = sha256 {
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(expected.trim()) {
            return Err(format!("its SHA-256 is {found}, but the configured `sha256` is {expected}"));
        }
    }
    check_kind(&bytes)?;
    Ok(bytes)
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
