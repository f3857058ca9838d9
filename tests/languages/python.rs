//! Python.

use crate::author::{Author, from_nothing_to_a_running_plugin, the_example_passes_the_suite};

#[test]
fn the_template_leads_from_nothing_to_a_running_plugin() {
    from_nothing_to_a_running_plugin("python", |author| {
        let method = "    def query_traces(self, query: TraceQuery, page: PageRequest) -> TracePage:\n";
        author.edit("app.py", method, &format!("{method}        raise Unsupported(\"closed today\")\n"));
    });
}

#[test]
fn the_example_passes_the_conformance_suite() {
    the_example_passes_the_suite("keyvalue-python");
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let error = Author::create("python").fail_to_build_without_tools();
    assert!(error.contains("ledger/.venv/bin/pip install componentize-py==0.25.1"), "{error}");
}
