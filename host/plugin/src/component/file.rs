//! From a file to the bytes of a component.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::core_module;
use crate::inspect::{Kind, Problem};

/// A plugin's file, read.
pub(crate) struct PluginFile {
    pub kind: Kind,
    /// The bytes of the component: those of the file, or what was made of them.
    pub component: Vec<u8>,
    /// The digest of the file, in hexadecimal.
    pub sha256: String,
    /// The size of the file.
    pub bytes: u64,
}

/// Reads `file`, and makes a component of it where it is a core module. Says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<PluginFile, Problem> {
    let metadata = fs::metadata(file)
        .map_err(|error| Problem::new(format!("it can't be read: {error}"), "give the file of a component"))?;
    if metadata.is_dir() {
        return Err(Problem::new("this is a folder", "give the .wasm file in it"));
    }
    let content = fs::read(file)
        .map_err(|error| Problem::new(format!("it can't be read: {error}"), "let the host's user read the file"))?;
    if file.extension().is_some_and(|extension| extension == "cwasm") {
        return Err(machine_code());
    }
    let sha256 = sha256(&content);
    let bytes = content.len() as u64;
    let (kind, component) = match kind(&content)? {
        Kind::Component => (Kind::Component, content),
        Kind::CoreModule => (Kind::CoreModule, core_module::to_component(&content)?),
    };
    Ok(PluginFile { kind, component, sha256, bytes })
}

/// The digest of `bytes` in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells components and core modules from what is mistaken for one.
fn kind(content: &[u8]) -> Result<Kind, Problem> {
    const MAGIC: &[u8] = b"\0asm";
    // The magic number and the version, whose upper half tells modules and components apart.
    match content {
        [] => Err(Problem::new("the file is empty", "build it or copy it again")),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Kind::Component),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Kind::CoreModule),
        [0, b'a', b's', b'm', _, _, _, _, ..] => Err(Problem::new(
            "this WebAssembly has a version that this host doesn't know",
            "build it with tools for WASI 0.2, or use a newer host",
        )),
        cut if MAGIC.starts_with(cut) || cut.starts_with(MAGIC) => {
            Err(Problem::new("the file ends before its header does", "build it or copy it again"))
        }
        [0x7f, b'E', b'L', b'F', ..] => Err(machine_code()),
        [0x1f, 0x8b, ..] | [b'P', b'K', 3, 4, ..] => Err(Problem::new(
            "this is an archive, no WebAssembly component",
            "unpack it, and give the .wasm file in it",
        )),
        _ => Err(text(content)),
    }
}

fn machine_code() -> Problem {
    Problem::new(
        "this is machine code, compiled ahead of time, which no host can check before it runs it",
        "drop the .wasm itself; the host compiles it",
    )
}

/// What text, or anything else, is mistaken for.
fn text(content: &[u8]) -> Problem {
    let start = String::from_utf8_lossy(&content[..content.len().min(1024)]).trim_start().to_ascii_lowercase();
    if start.starts_with("(module") || start.starts_with("(component") || start.starts_with(";;") {
        Problem::new("this is WebAssembly as text", "turn it into a binary: wasm-tools parse FILE.wat -o FILE.wasm")
    } else if start.starts_with("<!doctype") || start.starts_with("<html") {
        Problem::new(
            "this is a web page, no WebAssembly component: most likely the answer to a download that failed",
            "download it again",
        )
    } else if start.starts_with("version https://git-lfs") {
        Problem::new("this is a pointer of Git LFS, no WebAssembly component", "fetch the file itself: git lfs pull")
    } else {
        Problem::new("this is no WebAssembly component", "give the .wasm file that the build of the plugin made")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mistaken_for_a_component_is_told_apart() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"\0as", "ends before"),
            (b"\0asm\x0d\0", "ends before"),
            (b"\0asm\x02\0\0\0", "version"),
            (b"\x7fELF\x02\x01\x01", "machine code"),
            (b"\n (component)", "as text"),
            (b"<!DOCTYPE html><title>404</title>", "web page"),
            (b"\x1f\x8b\x08", "archive"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (b"#!/bin/sh", "no WebAssembly component"),
        ];
        for (content, part) in cases {
            let problem = kind(content).unwrap_err();
            assert!(problem.what.contains(part) && !problem.fix.is_empty(), "{part}: {problem}");
        }
    }
}
