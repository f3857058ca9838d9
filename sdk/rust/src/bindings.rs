//! Generated from the contract in `wit/`.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    path: "wit",
    world: "reflow:capabilities/plugin",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "__export_plugin_impl",
    default_bindings_module: "reflow_tracing_plugin::__private",
});
