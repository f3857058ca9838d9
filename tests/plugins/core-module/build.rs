//! Leaves the module as wasm-ld links it, as toolchains do that know nothing of components.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=--skip-wit-component");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
