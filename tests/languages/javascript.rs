//! TypeScript and JavaScript.

mod webhook;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::author::{
    Author, from_nothing_to_a_running_plugin, the_example_passes_the_suite, the_template_passes_the_suite,
};

#[test]
fn the_template_in_typescript_leads_from_nothing_to_a_running_plugin() {
    from_nothing_to_a_running_plugin("typescript", |author| {
        let method = "    queryTraces(query: TraceQuery, page: PageRequest) {\n";
        // Always true, but the compiler does not know it: it checks no code after a bare `throw`.
        let refusal = "        if (page.limit > 0) throw new Unsupported('closed today');\n";
        author.edit("src/plugin.ts", method, &format!("{method}{refusal}"));
    });
}

#[test]
fn the_template_in_javascript_leads_from_nothing_to_a_running_plugin() {
    from_nothing_to_a_running_plugin("javascript", |author| {
        let method = "    queryTraces(query, page) {\n";
        author.edit("src/plugin.js", method, &format!("{method}        throw new Unsupported('closed today');\n"));
    });
}

#[test]
fn the_example_passes_the_conformance_suite() {
    the_example_passes_the_suite("keyvalue-typescript");
}

// The templates in the two languages differ in their types only, so each is compiled in one of them.

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_sql_passes_the_conformance_suite() {
    the_template_passes_the_suite("typescript", &["--over", "sql"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_redis_passes_the_conformance_suite() {
    the_template_passes_the_suite("javascript", &["--over", "redis"]);
}

#[test]
#[ignore = "takes long; `cargo xtask soak` runs it"]
fn the_template_over_http_passes_the_suite_for_forwarders() {
    the_template_passes_the_suite("typescript", &["--over", "http"]);
}

#[test]
fn a_mistake_of_the_plugin_is_an_error_with_its_type_its_text_and_its_line() {
    let author = Author::create("typescript");
    let method = "    queryTraces(query: TraceQuery, page: PageRequest) {\n";
    author.edit("src/plugin.ts", method, &format!("{method}        JSON.parse(query.flowId ?? 'no JSON');\n"));
    author.build();
    let host = author.serve_session();
    let error = author.query(&host).expect_err("it throws");
    let line = std::fs::read_to_string(author.file("src/plugin.ts")).expect("a file of the template");
    let line = line.lines().position(|line| line.contains("'no JSON'")).expect("it was edited") + 1;
    assert!(error.contains("SyntaxError: ") && error.contains(&format!("(src/plugin.ts:{line}:")), "{error}");
    assert!(host.log().contains("queryTraces"), "{}", host.log());
    host.stop();
}

#[test]
fn an_error_of_types_is_shown_with_its_line() {
    let author = Author::create("typescript");
    author.edit("src/plugin.ts", "    getStats() {\n", "    getStats() {\n        const traces: string = 1;\n");
    let error = author.fail_to_build();
    assert!(error.contains("src/plugin.ts(") && error.contains("Type 'number' is not assignable"), "{error}");
    assert!(error.contains("can't build the plugin in ledger"), "{error}");
}

#[test]
fn a_capability_that_the_world_does_not_import_is_named_with_the_line_to_add() {
    let author = Author::create("javascript");
    let before = "import { matches } from './query.js';";
    author.edit("src/plugin.js", before, &format!("{before}\nimport {{ text }} from '#sdk/secrets';\ntext('token');"));
    let error = author.fail_to_build();
    assert!(error.contains("wit/world.wit") && error.contains("import reflow:capabilities/secrets@0.1.1;"), "{error}");
}

#[test]
fn missing_tools_are_named_with_the_command_that_installs_them() {
    let author = Author::create("typescript");
    let error = author.fail_to_build_without_tools();
    assert!(error.contains("Node.js") && error.contains("https://nodejs.org"), "{error}");
    let path = std::env::join_paths([node().parent().expect("a folder of the PATH")]).expect("it was on the PATH");
    let error = author.fail_to_build_with_path(&path);
    assert!(error.contains("componentize-js") && error.contains("npm install --prefix ledger"), "{error}");
}

#[test]
fn tools_of_another_version_than_the_plugin_pins_are_refused() {
    let author = Author::create("javascript");
    author.edit("package.json", r#""rolldown": "1.3.3""#, r#""rolldown": "0.9.9""#);
    let error = author.fail_to_build();
    assert!(error.contains("1.3.3") && error.contains("pins 0.9.9") && error.contains("npm install"), "{error}");
}

#[test]
fn the_tests_of_the_templates_pass_without_a_host_and_so_does_the_check_of_types() {
    for (language, types) in [("typescript", "tsconfig.json"), ("javascript", "jsconfig.json")] {
        for over in ["keyvalue", "sql", "redis", "http"] {
            let author = Author::create_with(language, &["--over", over]);
            let run = |arguments: &[&str]| {
                let mut node = Command::new(node());
                node.args(arguments).current_dir(author.file("")).env("NODE_PATH", modules());
                let output = node.output().expect("Node.js starts");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "{language} over {over}: {said}");
                said
            };
            let said = run(&["--import", "./sdk/testing/register.js", "--test", "test/plugin.test.js"]);
            assert!(said.contains("# fail 0") && !said.contains("# pass 0"), "{language} over {over}: {said}");
            let compiler = modules().join("typescript/bin/tsc");
            run(&[compiler.to_str().expect("a path of ours"), "-p", types]);
        }
    }
}

/// The program that `cargo xtask test --lang javascript` has put on the PATH.
fn on_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
    files
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: use `cargo xtask test --lang javascript`"))
}

fn node() -> PathBuf {
    on_path("node")
}

/// The folder `node_modules` of the tools.
fn modules() -> PathBuf {
    let program = on_path("componentize-js");
    program.parent().and_then(Path::parent).expect("it lies in node_modules/.bin").to_owned()
}
