//! A storage plugin that imports an interface that no host provides.

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

use reflow_tracing_plugin::{Backend, Info, Result, export};

export!(Foreign);

#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({
        inline: "package evil:host; interface thing { touch: func(); } world plugin { import thing; }",
        world: "evil:host/plugin",
    });
}

struct Foreign;

impl Backend for Foreign {
    fn open(_config: &str) -> Result<Self> {
        bindings::evil::host::thing::touch();
        Ok(Self)
    }

    fn info(&self) -> Info {
        Info { name: "foreign".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    stub!(store_traces, store_events, get_traces, query_traces, get_events, delete_traces, stats, health_check);
}
