//! The compilers that turn Rust into a WebAssembly component, best first, and how cargo is told to use them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::process;

/// Debian's compiler: the one whose library sources Debian packages.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The oldest compiler that builds the workspace.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// A way to build components that works on this machine.
pub enum Toolchain {
    /// The target that emits components by itself.
    Wasip2,
    /// The bare target, with the linker that makes components.
    Bare(Linker),
    /// Debian's compiler and its library sources: the library is built along. The compiler of rustup cannot build
    /// these sources (its lang items differ), but its linker does.
    DebianSources(Linker),
}

/// Makes a component of what the compiler emits; part of every toolchain that rustup installs.
pub struct Linker {
    component_ld: PathBuf,
    wasm_ld: PathBuf,
}

impl Toolchain {
    /// The best of what is installed. Looks at files only: no network, nothing is remembered.
    pub fn installed() -> Result<Option<Self>> {
        let rustc = Rustc::default()?;
        if rustc.has_target("wasm32-wasip2") {
            return Ok(Some(Self::Wasip2));
        }
        let Some(linker) = Linker::find(&rustc) else {
            return Ok(None);
        };
        if rustc.has_target("wasm32-unknown-unknown") {
            return Ok(Some(Self::Bare(linker)));
        }
        Ok(debian_sources()?.then_some(Self::DebianSources(linker)))
    }

    /// The target triple, which also names the folder that the components end up in.
    pub fn target(&self) -> &'static str {
        match self {
            Self::Wasip2 => "wasm32-wasip2",
            Self::Bare(_) | Self::DebianSources(_) => "wasm32-unknown-unknown",
        }
    }

    /// Tells a `cargo build` to use it.
    pub fn configure(&self, cargo: &mut Command) {
        cargo.args(["--target", self.target()]);
        let mut flags = String::new();
        if let Self::Bare(linker) | Self::DebianSources(linker) = self {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &linker.component_ld);
            flags = format!("-Clink-arg=--wasm-ld-path={}", linker.wasm_ld.display());
        }
        if let Self::DebianSources(_) = self {
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        }
        // Even when empty: it replaces the flags that the environment may hold for native code. Unlike RUSTFLAGS, this
        // variable leaves spaces in paths alone.
        cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags);
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wasip2 => write!(f, "the target wasm32-wasip2"),
            Self::Bare(_) => write!(f, "the target wasm32-unknown-unknown with wasm-component-ld"),
            Self::DebianSources(_) => write!(f, "{DEBIAN_RUSTC} with Debian's sources of the standard library"),
        }
    }
}

/// The compiler that cargo uses for native code.
struct Rustc {
    rustlib: PathBuf,
    host: String,
}

impl Rustc {
    fn default() -> Result<Self> {
        let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let text = process::output(Command::new(program).args(["--print", "sysroot", "--print", "host-tuple"]))?;
        let mut lines = text.lines();
        let (Some(sysroot), Some(host)) = (lines.next(), lines.next()) else {
            return Err(anyhow!("rustc printed `{text}` where its sysroot and its host were expected"));
        };
        Ok(Self { rustlib: Path::new(sysroot).join("lib/rustlib"), host: host.to_string() })
    }

    fn has_target(&self, triple: &str) -> bool {
        self.rustlib.join(triple).join("lib").is_dir()
    }
}

impl Linker {
    fn find(rustc: &Rustc) -> Option<Self> {
        let tools = rustc.rustlib.join(&rustc.host).join("bin");
        let find = |file: PathBuf, name: &str| file.is_file().then_some(file).or_else(|| process::find_on_path(name));
        let exe = std::env::consts::EXE_SUFFIX;
        Some(Self {
            component_ld: find(tools.join(format!("wasm-component-ld{exe}")), "wasm-component-ld")?,
            wasm_ld: find(tools.join(format!("gcc-ld/wasm-ld{exe}")), "wasm-ld")?,
        })
    }
}

/// Whether Debian's compiler and sources are there, and new enough: both come with the version in their names, but the
/// release that came with a Debian stays in its archive beside the updates.
fn debian_sources() -> Result<bool> {
    if !Path::new(DEBIAN_RUSTC).is_file() || !Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock").is_file() {
        return Ok(false);
    }
    let text = process::output(Command::new(DEBIAN_RUSTC).arg("--version"))?;
    let version = text.split_whitespace().nth(1).with_context(|| format!("no version in `{text}`"))?;
    Ok(new_enough(version))
}

/// Whether a version, of a compiler or of a Debian package that holds one, can build the workspace.
pub fn new_enough(version: &str) -> bool {
    let numbers = |version: &str| -> Option<(u32, u32)> {
        let mut parts = version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    numbers(version) >= numbers(MINIMUM)
}

#[cfg(test)]
mod tests {
    use super::new_enough;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(new_enough("1.96.0+dfsg1-1~deb12u2"));
        assert!(new_enough("2.0.0"));
        assert!(!new_enough("1.85.0+dfsg3-1~deb12u3"));
        assert!(!new_enough("1.9.0"));
        assert!(!new_enough("(none)"));
    }
}
