//! Python.

mod opensearch;

use std::process::Command;

use crate::author::{
    Author, from_nothing_to_a_running_plugin, the_example_passes_the_suite, the_template_passes_the_suite,
};

#[test]
fn the_template_leads_from_nothing_to_a_running_plugin_whose_exceptions_name_their_line() {
    let error = from_nothing_to_a_running_plugin("python", |author| {
        let method = "        return search.run(self.bucket, query, page)\n";
        author.edit("app.py", method, &format!("        {{}}[\"closed today\"]\n{method}"));
    });
    let line = error.split_once("KeyError: 'closed today' (app.py, line ").map(|(_, rest)| rest);
    assert!(line.is_some_and(|rest| rest.contains(", in query_traces)")), "{error}");
}

#[test]
fn the_example_passes_the_conformance_suite() {
    the_example_passes_the_suite("keyvalue-python");
}

#[test]
fn the_template_over_sql_passes_the_conformance_suite() {
    the_template_passes_the_suite("python", &["--over", "sql"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_redis_passes_the_conformance_suite() {
    the_template_passes_the_suite("python", &["--over", "redis"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_http_passes_the_suite_for_forwarders() {
    the_template_passes_the_suite("python", &["--over", "http"]);
}

#[test]
fn the_tests_of_the_templates_pass_without_a_host() {
    for over in ["keyvalue", "sql", "redis", "http"] {
        let author = Author::create_with("python", &["--over", over]);
        let mut tests = Command::new("python3");
        let output =
            tests.args(["-m", "unittest"]).current_dir(author.file("")).output().expect("python3 is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("OK") && !said.contains("Ran 0 tests"), "{over}: {said}");
    }
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let error = Author::create("python").fail_to_build_without_tools();
    assert!(error.contains("ledger/.venv/bin/pip install componentize-py==0.25.1"), "{error}");
}

#[test]
fn another_version_of_the_tool_is_refused() {
    let author = Author::create("python");
    author.edit("requirements.txt", "componentize-py==0.25.1", "componentize-py==0.1.0");
    let error = author.fail_to_build();
    assert!(error.contains("0.25.1, but the plugin needs 0.1.0") && error.contains("==0.1.0"), "{error}");
}

#[test]
fn a_mistake_in_the_source_is_shown_with_its_file_and_line() {
    let author = Author::create("python");
    author.edit("app.py", "import search\n", "import serach\n");
    let error = author.fail_to_build();
    for part in ["app.py", "line 11", "No module named 'serach'", "can't build the plugin in ledger"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
    assert!(!error.contains("Stack backtrace"), "the tool's own functions do not help: {error}");
}
