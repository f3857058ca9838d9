use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// A file of `tests/fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// The component of `plugins/NAME/`.
pub fn plugin(name: &str) -> PathBuf {
    built(root().join(format!("plugins/{name}.wasm")), "cargo xtask plugins")
}

/// The component of `tests/plugins/NAME/`.
pub fn test_plugin(name: &str) -> PathBuf {
    built(root().join(format!("tests/plugins/{name}.wasm")), "cargo xtask plugins")
}

/// The program `reflow-tracing`.
pub fn host_program() -> PathBuf {
    // In the folder of the tests, for any target folder and profile.
    let test = std::env::current_exe().expect("a running test has a file");
    let folder = test.parent().and_then(Path::parent).expect("it lies in target/PROFILE/deps");
    let name = format!("reflow-tracing{}", std::env::consts::EXE_SUFFIX);
    built(folder.join(name), "cargo build --workspace --bin reflow-tracing")
}

fn built(file: PathBuf, command: &str) -> PathBuf {
    assert!(file.exists(), "{} is missing: run `{command}` first", file.display());
    file
}
