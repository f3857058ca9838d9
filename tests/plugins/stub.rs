//! The functions of a backend that stores nothing, for test plugins that use only some functions.

/// Expands to the named functions of `Backend`. Writes do nothing, and reads find nothing.
macro_rules! stub {
    (store_traces) => {
        fn store_traces(&self, _traces: Vec<reflow_tracing_plugin::Trace>) -> Result<()> {
            Ok(())
        }
    };
    (store_events) => {
        fn store_events(&self, _events: &reflow_tracing_plugin::EventBatch) -> Result<()> {
            Ok(())
        }
    };
    (get_traces) => {
        fn get_traces(&self, ids: Vec<reflow_tracing_plugin::Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
            Ok(vec![None; ids.len()])
        }
    };
    (query_traces) => {
        fn query_traces(
            &self,
            _query: reflow_tracing_plugin::TraceQuery,
            _page: reflow_tracing_plugin::PageRequest,
        ) -> Result<reflow_tracing_plugin::TracePage> {
            Ok(reflow_tracing_plugin::TracePage { bodies: Vec::new(), next: None })
        }
    };
    (get_events) => {
        fn get_events(
            &self,
            _trace_id: reflow_tracing_plugin::Uuid,
            _page: reflow_tracing_plugin::PageRequest,
        ) -> Result<reflow_tracing_plugin::EventPage> {
            Ok(reflow_tracing_plugin::EventPage { events: reflow_tracing_plugin::EventBatch::new(), next: None })
        }
    };
    (delete_traces) => {
        fn delete_traces(&self, _ids: Vec<reflow_tracing_plugin::Uuid>) -> Result<u64> {
            Ok(0)
        }
    };
    (stats) => {
        fn stats(&self) -> Result<reflow_tracing_plugin::Stats> {
            Ok(reflow_tracing_plugin::Stats { traces: 0, events: 0, bytes: None, oldest: None, newest: None })
        }
    };
    (health_check) => {
        fn health_check(&self) -> Result<()> {
            Ok(())
        }
    };
    ($($function:ident),+) => {
        $(stub!($function);)+
    };
}
