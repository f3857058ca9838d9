//! Reads a plugin's file into the bytes of a component.

use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::core_module;
use super::problem::{Kind, Problem};

/// The largest file, in bytes. The host holds it in memory while it loads it.
const MAX_BYTES: u64 = 128 * 1024 * 1024;
/// The largest core module. Converting it takes several times its size.
const MAX_CORE_MODULE: u64 = 32 * 1024 * 1024;

/// A plugin's file, read.
pub(crate) struct PluginFile {
    pub kind: Kind,
    /// The component: the file's bytes, or the component that they were converted to.
    pub component: Vec<u8>,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The size of the file.
    pub bytes: u64,
}

/// Reads `file`, and converts a core module to a component.
pub(crate) fn read(file: &Path) -> Result<PluginFile, Problem> {
    let metadata = fs::metadata(file)
        .map_err(|error| Problem::new(format!("can't read the file: {error}"), "pass the path of a component"))?;
    if metadata.is_dir() {
        return Err(Problem::new("this is a folder, not a file", "pass the path of the .wasm file in it"));
    }
    if !metadata.is_file() {
        return Err(Problem::new("this is a device or a pipe, not a file", "pass the path of a component"));
    }
    // The file may grow.
    let read = fs::File::open(file).and_then(|file| {
        // Without a moment in which it has twice the memory.
        let mut bytes = Vec::with_capacity(metadata.len().min(MAX_BYTES) as usize + 1);
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.map_err(|error| {
        Problem::new(format!("can't read the file: {error}"), "give the host's user the right to read it")
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::new(
            format!("the file has more than {} MiB", MAX_BYTES >> 20),
            "build it with optimization and without debug information",
        ));
    }
    if file.extension().is_some_and(|extension| extension == "cwasm") {
        return Err(machine_code());
    }
    let sha256 = sha256(&bytes);
    let size = bytes.len() as u64;
    let (kind, component) = match kind(&bytes)? {
        Kind::Component => (Kind::Component, bytes),
        Kind::CoreModule if size > MAX_CORE_MODULE => {
            return Err(Problem::new(
                format!("the core module has more than {} MiB", MAX_CORE_MODULE >> 20),
                "convert it to a component: wasm-tools component new",
            ));
        }
        Kind::CoreModule => (Kind::CoreModule, core_module::to_component(&bytes)?),
    };
    Ok(PluginFile { kind, component, sha256, bytes: size })
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Recognizes components, core modules, and files commonly mistaken for them.
fn kind(bytes: &[u8]) -> Result<Kind, Problem> {
    const MAGIC: &[u8] = b"\0asm";
    // The magic number, then the version. Its upper half distinguishes components from modules.
    match bytes {
        [] => Err(Problem::new("the file is empty", "build or copy it again")),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Kind::Component),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Kind::CoreModule),
        [0, b'a', b's', b'm', _, _, _, _, ..] => Err(Problem::new(
            "this host does not know this version of WebAssembly",
            "build it with tools for WASI 0.2, or use a newer host",
        )),
        truncated if MAGIC.starts_with(truncated) || truncated.starts_with(MAGIC) => {
            Err(Problem::new("the file ends within its header", "build or copy it again"))
        }
        [0x7f, b'E', b'L', b'F', ..] => Err(machine_code()),
        [0x1f, 0x8b, ..] | [b'P', b'K', 3, 4, ..] => Err(Problem::new(
            "this is an archive, not a WebAssembly component",
            "unpack it and pass the .wasm file in it",
        )),
        _ => Err(unknown(bytes)),
    }
}

fn machine_code() -> Problem {
    Problem::new(
        "this is machine code, compiled ahead of time, which the host can't verify",
        "use the .wasm file; the host compiles it",
    )
}

/// The problem with text, or with bytes of an unknown format.
fn unknown(bytes: &[u8]) -> Problem {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).trim_start().to_ascii_lowercase();
    if start.starts_with("(module") || start.starts_with("(component") || start.starts_with(";;") {
        Problem::new("this is WebAssembly in text format", "convert it: wasm-tools parse FILE.wat -o FILE.wasm")
    } else if start.starts_with("<!doctype") || start.starts_with("<html") {
        Problem::new(
            "this is a web page, not a WebAssembly component; the download probably failed",
            "download it again",
        )
    } else if start.starts_with("version https://git-lfs") {
        Problem::new("this is a Git LFS pointer, not a WebAssembly component", "fetch the file: git lfs pull")
    } else {
        Problem::new("this is not a WebAssembly component", "pass the .wasm file that the plugin's build wrote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.wasm");
        let large = |magic: &[u8], bytes: u64| {
            std::fs::write(&file, magic).unwrap();
            std::fs::File::options().write(true).open(&file).unwrap().set_len(bytes).unwrap();
            read(&file).err().unwrap().to_string()
        };
        assert!(large(b"\0asm\x0d\0\x01\0", MAX_BYTES + 1).contains("more than 128 MiB"));
        assert!(large(b"\0asm\x01\0\0\0", MAX_CORE_MODULE + 1).contains("core module has more than 32 MiB"));
    }

    #[test]
    fn files_mistaken_for_a_component_are_named() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"\0as", "ends within"),
            (b"\0asm\x0d\0", "ends within"),
            (b"\0asm\x02\0\0\0", "version"),
            (b"\x7fELF\x02\x01\x01", "machine code"),
            (b"\n (component)", "text format"),
            (b"<!DOCTYPE html><title>404</title>", "web page"),
            (b"\x1f\x8b\x08", "archive"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (b"#!/bin/sh", "not a WebAssembly component"),
        ];
        for (bytes, expected) in cases {
            let problem = kind(bytes).unwrap_err();
            assert!(problem.what.contains(expected) && !problem.fix.is_empty(), "{expected}: {problem}");
        }
    }
}
