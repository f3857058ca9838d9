//! C.

use std::fs;

use crate::author::{
    Author, from_nothing_to_a_running_plugin, sdk, the_example_passes_the_suite, the_template_passes_the_suite,
};
use crate::receiver;

#[test]
fn the_template_leads_from_nothing_to_a_running_plugin_whose_assertions_name_their_line() {
    let error = from_nothing_to_a_running_plugin("c", |author| {
        let first = "  if (query->more.len > 0) {\n";
        author.edit("src/backend.c", first, &format!("  assert(!\"closed today\");\n{first}"));
        author.edit("src/backend.c", "#include <string.h>\n", "#include <assert.h>\n#include <string.h>\n");
    });
    assert!(
        error.contains("Assertion failed: !\"closed today\" (") && error.contains("backend.c: backend_query_traces: "),
        "{error}"
    );
}

#[test]
fn the_example_passes_the_conformance_suite() {
    the_example_passes_the_suite("keyvalue-c");
}

#[test]
fn the_template_over_sql_passes_the_suite_and_its_own_tests() {
    let author = the_template_passes_the_suite("c", &["--over", "sql"]);
    run_the_tests_of_the_template(&author, 1);
    run_a_test_of_the_sdk(&author, "sdk/sql.c", "sql_test");
}

#[test]
fn the_template_over_redis_passes_the_suite_and_its_own_tests() {
    let author = the_template_passes_the_suite("c", &["--over", "redis"]);
    run_the_tests_of_the_template(&author, 2);
    run_a_test_of_the_sdk(&author, "sdk/redis.c", "redis_test");
}

#[test]
fn the_template_over_http_passes_the_suite_for_forwarders_and_its_own_tests() {
    let author = the_template_passes_the_suite("c", &["--over", "http"]);
    run_the_tests_of_the_template(&author, 1);
    run_a_test_of_the_sdk(&author, "sdk/http.c sdk/http_error.c sdk/http_url.c", "http_test");
    receiver::each_that_misbehaves_is_an_error(&author);
}

/// Runs the lines that the template's README has for its tests.
fn run_the_tests_of_the_template(author: &Author, count: usize) {
    let readme = fs::read_to_string(author.file("README.md")).expect("a file of the template");
    let (_, tests) = readme.split_once("```sh\ncc ").expect("it has them");
    let (tests, _) = tests.split_once("```").expect("they end");
    let said = author.shell(&format!("cc {tests}"));
    assert_eq!(said.matches(" passed, 0 failed\n").count(), count, "{said}");
}

/// Runs a test of the SDK that needs the bindings of this plugin.
fn run_a_test_of_the_sdk(author: &Author, sources: &str, name: &str) {
    let file = sdk("c/test").join(name).with_extension("c");
    let said = author.shell(&format!(
        "cc -Werror -Wall -ffunction-sections -Wl,--gc-sections -Isdk -Ibindings sdk/arena.c sdk/bytes.c sdk/error.c {sources} '{}' \
         -o build/{name}\nbuild/{name}",
        file.display()
    ));
    assert!(said.contains(" passed, 0 failed\n"), "{said}");
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let error = Author::create("c").fail_to_build_without_tools();
    assert!(error.contains("pip install ziglang==0.17.1") && error.contains("apt-get install clang-19"), "{error}");
}

#[test]
fn a_mistake_in_the_source_is_shown_with_its_file_and_line() {
    let author = Author::create("c");
    author.edit("src/backend.c", "reflow_text(\"0.1.0\")", "reflow_txet(\"0.1.0\")");
    let error = author.fail_to_build();
    for part in ["src/backend.c:16:", "reflow_txet", "can't build the plugin in ledger"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn a_file_in_cpp_optional_exports_and_other_capabilities_need_no_more_than_a_line_in_the_world() {
    let author = Author::create("c");
    let import = "    import reflow:capabilities/keyvalue@0.1.1;\n";
    let more = "    import reflow:capabilities/metrics@0.1.1;\n    export reflow:storage/maintenance@0.1.1;\n    \
                export reflow:storage/expiry@0.1.1;\n";
    author.edit("wit/world.wit", import, &format!("{import}{more}"));
    let source = "#include \"reflow.h\"\n\n\
        template <typename T> static T twice(T number) { return 2 * number; }\n\n\
        bool backend_maintain(reflow_error *error) {\n  reflow_string name = reflow_text(\"maintained\");\n  \
        reflow_capabilities_metrics_count(&name, twice<uint64_t>(1));\n  (void)error;\n  return true;\n}\n";
    fs::write(author.file("src/upkeep.cpp"), source).expect("a file of our own");
    author.build();
    let check = author.stdout(&["plugin", "check", "plugins/ledger.wasm"]);
    for part in ["reflow:capabilities/metrics@0.1.1", "reflow:storage/maintenance@0.1.1", "reflow:storage/expiry@0.1.1"]
    {
        assert!(check.contains(part), "no {part} in: {check}");
    }
    author.stdout(&["plugin", "test", "plugins/ledger.wasm", "--filter", "empty"]);
    let inspect = author.stdout(&["plugin", "inspect", "plugins/ledger.wasm"]);
    assert!(inspect.contains("language      C"), "{inspect}");
}

#[test]
fn plugin_dev_builds_and_tests_at_each_change_and_first_what_failed_before() {
    let author = Author::create("c");
    let mut dev = author.develop();
    let said = dev.until("waiting for a change");
    assert!(said.contains(" passed, 0 failed\n"), "{said}");
    let (right, wrong, mistaken) =
        ("reflow_text(\"h\")), &stats", "reflow_text(\"x\")), &stats", "reflow_txet(\"h\")), &stats");
    author.edit("src/backend.c", right, wrong);
    let said = dev.until("waiting for a change");
    let failed = said.lines().filter(|line| line.starts_with("FAILED")).count();
    assert!(failed > 0 && said.contains(&format!(" passed, {failed} failed\n")), "{said}");
    author.edit("src/backend.c", wrong, mistaken);
    let said = dev.until("waiting for a change");
    assert!(said.contains("error: ") && said.contains("can't build the plugin in ledger"), "{said}");
    author.edit("src/backend.c", mistaken, right);
    let said = dev.until("waiting for a change");
    // The cases that failed, then all.
    let cases: Vec<_> = said.lines().filter(|line| line.starts_with("ok")).collect();
    assert!(said.contains(" passed, 0 failed\n") && cases.len() > 100 + failed, "{said}");
}

#[test]
fn plugin_bench_measures_it_beside_memory_and_sqlite() {
    let author = Author::create("c");
    author.build();
    let table = author.stdout(&["plugin", "bench", "plugins/ledger.wasm", "--events", "2000", "--writers", "2"]);
    for row in ["memory", "sqlite", "ledger", "opened in "] {
        assert!(table.contains(row), "no {row:?} in: {table}");
    }
}
