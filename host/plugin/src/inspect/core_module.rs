//! Converts a core module to a component. Many toolchains emit core modules that name their world in a custom section. For one
//! that names none, the world is made from its imports and exports.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW_1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_component::ComponentEncoder;

use super::implied_world;
use super::package_cycles;
use super::problem::Problem;

/// Converts a core module to a component. Imports from WASI preview 1 are adapted to WASI 0.2.
pub(super) fn to_component(module: &[u8]) -> Result<Vec<u8>, Problem> {
    let failed = |error: String| {
        Problem::new(
            format!("this core WebAssembly module can't be converted to a component: {error}"),
            "rebuild it with bindings generated for the world `reflow:capabilities/plugin`",
        )
    };
    package_cycles::refuse(module).map_err(failed)?;
    let (world, _) = wit_component::metadata::decode(module).map_err(|error| failed(format!("{error:#}")))?;
    let module = match world {
        Some(_) => Cow::Borrowed(module),
        None => Cow::Owned(implied_world::embed(module)?),
    };
    let encoder = ComponentEncoder::default();
    // The encoder omits the adapter when the module does not import it.
    let component = encoder
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(PREVIEW_1, ADAPTER))
        .and_then(|mut encoder| encoder.encode());
    component.map_err(|error| failed(format!("{error:#}")))
}
