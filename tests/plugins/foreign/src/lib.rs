//! A storage plugin that imports an interface which no host has.

use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, Trace, TracePage, TraceQuery, Uuid, export,
};

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

    fn store_traces(&self, _traces: Vec<Trace>) -> Result<()> {
        Ok(())
    }

    fn store_events(&self, _events: &EventBatch) -> Result<()> {
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(vec![None; ids.len()])
    }

    fn query_traces(&self, _query: TraceQuery, _page: PageRequest) -> Result<TracePage> {
        Ok(TracePage { bodies: Vec::new(), next: None })
    }

    fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
        Ok(EventPage { events: EventBatch::new(), next: None })
    }

    fn delete_traces(&self, _ids: Vec<Uuid>) -> Result<u64> {
        Ok(0)
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats { traces: 0, events: 0, bytes: None, oldest: None, newest: None })
    }

    fn health_check(&self) -> Result<()> {
        Ok(())
    }
}
