//! Follows the guide for plugin authors, from nothing to a running plugin.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use futures::{SinkExt, StreamExt};
use reflow_tracing::{FlowId, TraceQuery};
use reflow_tracing_tests::{Backend, Host, Setting, fixture, host_program, root};
use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const GUIDE: &str = "docs/writing-a-plugin.md";

/// A fenced block of the guide.
struct Block {
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let guide = fs::read_to_string(root().join(GUIDE)).expect("the guide is there");
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language: language.into(), text: text.join("\n") });
        }
    }
    blocks
}

/// The words of a line without what varies between runs: numbers, digests, column widths.
fn gist(line: &str) -> String {
    let word = |word: &str| {
        if word.starts_with("0x") {
            return "ADDRESS".into();
        }
        let is_digest = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        if is_digest { "DIGEST".into() } else { word.replace(|c: char| c.is_ascii_digit(), "") }
    };
    line.split_whitespace().map(word).collect::<Vec<String>>().join(" ")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A shell in the folder of the setting, with the program on its path.
fn shell(setting: &Setting, script: &str) -> Output {
    let program = host_program();
    let folder = program.parent().expect("it lies in a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", script]).current_dir(setting.path()).env("PATH", path.expect("paths from a path"));
    // Hides the variables of the cargo that runs this test. The dependencies are those of the workspace, which are
    // available offline, and compiled in the first run.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            shell.env_remove(name);
        }
    }
    shell.env_remove("RUSTFLAGS").env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", authored());
    shell.output().expect("bash starts")
}

/// Cargo's target folder for the plugins of authors.
fn authored() -> PathBuf {
    let program = host_program();
    let target = program.parent().and_then(|profile| profile.parent()).expect("it lies in target/PROFILE");
    target.join("authored")
}

#[test]
fn the_guide_leads_from_nothing_to_a_running_plugin() {
    let setting = Setting::new(Backend::Sqlite);
    let mut output = None;
    for block in blocks() {
        match block.language.as_str() {
            "sh" => {
                let done = shell(&setting, &block.text);
                assert!(done.status.success(), "{GUIDE}:\n{}\n{}", block.text, said(&done));
                output = Some(said(&done));
            }
            // The output of the block before it; dots stand for omitted lines.
            "text" => {
                let Some(output) = output.take() else { continue };
                let printed: Vec<_> = output.lines().map(gist).collect();
                for line in block.text.lines().filter(|line| *line != "...") {
                    assert!(printed.contains(&gist(line)), "{GUIDE} says it prints\n{line}\nbut it prints\n{output}");
                }
            }
            // The configuration, with a free port.
            "toml" => setting.write(&format!("{}\n[server]\nport = 0\n", block.text)),
            "rust" | "rust,ignore" | "c" | "go" | "ts" | "python" => output = None,
            other => panic!("{GUIDE} has a block of an unknown kind: {other:?}"),
        }
    }

    // Only the guide's last, correct version is used from here on.
    setting.stdout(&["query", "--flow", "trap"]);
    let host = Host::start(&setting);
    let session = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", session.to_str().expect("a path of ours"), "--url", &host.url]);
    host.stop();
    let traces = setting.traces();
    assert_eq!(traces.iter().map(|trace| trace.events.len()).collect::<Vec<_>>(), [16]);
    assert!(setting.path().join("ledger.db").exists(), "the traces are in the plugin's database");

    let formatted = shell(&setting, "cargo fmt --manifest-path ledger/Cargo.toml --check");
    assert!(formatted.status.success(), "{}", said(&formatted));

    // `plugin check` compares the configuration with what the plugin may use.
    let check = ["plugin", "check", "plugins/ledger.wasm", "--config", "reflow_tracing.toml"];
    assert!(setting.stdout(&check).contains("grants `ledger` all that it may use"));
    setting.write("[plugins.ledger]\n");
    assert!(setting.failure(&check).contains("sql = { default = \"sqlite:ledger.db\" }"));

    let inspection = setting.stdout(&["plugin", "inspect", "plugins/ledger.wasm", "--format", "json"]);
    let inspection: Value = serde_json::from_str(&inspection).expect("JSON");
    assert_eq!(inspection["contract"], "0.1.1");
    assert_eq!(inspection["capabilities"], serde_json::json!(["log", "sql"]));
    assert!(inspection["producers"]["language"]["Rust"].is_string(), "{inspection}");
    assert!(inspection["wit"].as_str().is_some_and(|wit| wit.contains("export reflow:storage/backend@0.1.1")));
    assert!(setting.stdout(&["plugin", "inspect", "plugins/ledger.wasm"]).contains("sha256"));
}

#[test]
fn the_guide_shows_the_functions_of_plugins_as_they_are() {
    let guide = fs::read_to_string(root().join(GUIDE)).expect("the guide is there");
    // A comment with the file, then a block with lines of it.
    let shown: Vec<_> = guide.split("<!-- ").skip(1).filter_map(|part| part.split_once(" -->\n```")).collect();
    assert_eq!(shown.len(), 7, "{shown:?}");
    let without_indents = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    for (file, block) in shown {
        let block = block.split("\n```").next().and_then(|block| block.split_once('\n')).expect("a whole block").1;
        let source = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(without_indents(&source).contains(&without_indents(block)), "{GUIDE} shows another {file}:\n{block}");
    }
}

#[test]
fn each_template_passes_its_suite_in_what_it_is_given_without_a_grant() {
    let setting = Setting::new(Backend::Sqlite);
    for (over, features, expected) in [
        ("keyvalue", "", "each case has its own store"),
        ("redis", "", "each case has its own store"),
        ("http", ", features = [\"http\"]", "a forwarder, since it answers no read"),
    ] {
        setting.stdout(&["plugin", "new", "shelf", "--lang", "rust", "--over", over, "--path", over]);
        let manifest = fs::read_to_string(setting.path().join(over).join("Cargo.toml")).expect("it was written");
        assert!(manifest.contains(&format!("{{ path = \"sdk/rust\"{features} }}")), "{manifest}");
        // In one folder, so that the SDK is compiled once for each set of features.
        let script = format!(
            "if [ -e one ]; then rm -r one/src; cp -r {over}/src {over}/Cargo.toml one/; else cp -r {over} one; fi\n\
             cargo fmt --manifest-path one/Cargo.toml --check\n\
             reflow-tracing plugin build one\n\
             reflow-tracing plugin test plugins/shelf.wasm"
        );
        let done = shell(&setting, &script);
        let said = said(&done);
        assert!(done.status.success() && said.contains(expected), "{over}: {said}");
        assert!(said.contains(" passed, 0 failed, 0 skipped"), "{over}: {said}");
    }
}

#[test]
fn a_plugin_that_stores_nothing_fails_the_suite() {
    let setting = Setting::new(Backend::Sqlite);
    let output = setting.run(&["plugin", "test", "plugins/hostile.wasm", "--filter", "batches"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("FAILED") && said.contains("the contract: A batch may be large."), "{said}");
    assert!(said.contains("cases failed"), "{said}");
}

#[test]
fn a_store_that_is_not_empty_is_not_tested() {
    let setting = Setting::new(Backend::Relational);
    let host = Host::start(&setting);
    let session = fixture("reflow-session.jsonl");
    setting.stdout(&["replay", session.to_str().expect("a path of ours"), "--url", &host.url]);
    host.stop();
    let message =
        setting.failure(&["plugin", "test", "plugins/relational.wasm", "--grant", "sql.default=sqlite:relational.db"]);
    assert!(message.contains("empty") && message.contains("{dir}") && message.contains("16 events"), "{message}");
    assert_eq!(setting.traces().len(), 1, "it is not changed");
}

#[test]
fn a_shared_store_is_empty_again_after_the_suite() {
    let setting = Setting::new(Backend::Relational);
    let grant = "sql.default=sqlite:relational.db";
    setting.stdout(&["plugin", "test", "plugins/relational.wasm", "--grant", grant, "--filter", "batches"]);
    assert!(setting.path().join("relational.db").exists());
    assert!(setting.traces().is_empty());
}

#[test]
fn mistakes_of_authors_are_reported() {
    let setting = Setting::new(Backend::Sqlite);
    let refused = |arguments: &[&str], parts: &[&str]| {
        let message = setting.failure(arguments);
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    };
    refused(&["plugin", "new", "ledger", "--lang", "cobol"], &["cobol", "rust"]);
    refused(&["plugin", "new", "Ledger", "--lang", "rust"], &["Ledger", "lower-case"]);
    refused(&["plugin", "new", "sqlite", "--lang", "rust"], &["built-in"]);
    refused(&["plugin", "new", "mine", "--lang", "rust", "--path", "plugins"], &["plugins", "not empty"]);
    refused(&["plugin", "build", "nowhere"], &["nowhere/Cargo.toml", "plugin new"]);
    refused(&["plugin", "test", "plugins/relational.wasm", "--grant", "files.default=/"], &["files", "keyvalue"]);
    refused(&["plugin", "test", "plugins/relational.wasm", "--config-json", "[]"], &["JSON object"]);
    refused(&["plugin", "test", "plugins/relational.wasm", "--filter", "nonsense"], &["nonsense"]);
    refused(&["plugin", "test", "plugins/relational.wasm", "--config-json", "{\"a\":1}"], &["has no settings"]);
}

#[test]
fn the_list_shows_files_without_a_table_and_tables_without_a_file() {
    let setting = Setting::new(Backend::Sqlite);
    fs::write(setting.path().join("plugins/broken.wasm"), "<!DOCTYPE html>").expect("a file of ours");
    setting.write(
        "[storage]\nbackend = \"relational\"\n[plugins.relational]\n[plugins.elsewhere]\nfile = \"gone.wasm\"\n",
    );
    let list = setting.stdout(&["plugin", "list"]);
    let state =
        |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {list}"));
    for (name, part) in [
        ("relational", "the configured backend"),
        ("relational", "nothing that it may use is granted"),
        ("hostile", "no table [plugins.hostile]"),
        ("elsewhere", "gone.wasm"),
        ("elsewhere", "no such file"),
        ("broken", "web page"),
    ] {
        assert!(state(name).contains(part), "no {part:?} for {name} in:\n{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_leaves_the_names_of_the_plugins_functions_in_the_log() {
    let setting = Setting::new(Backend::Hostile);
    let host = Host::start(&setting);
    let (mut client, _) = connect_async(&host.url).await.expect("the host listens");
    for (how, function) in [("trap", "backend@0.1.1#query-traces"), ("recurse", "::recurse")] {
        let query = TraceQuery { flow_id: Some(FlowId::new(how)), ..TraceQuery::default() };
        let query = serde_json::to_string(&query).expect("it is written");
        let request = format!(r#"{{"QueryTraces":{{"query":{query}}}}}"#);
        client.send(Message::text(request)).await.expect("sent");
        client.next().await.expect("an answer").expect("a frame");
        // The line is written before the answer is sent.
        let log = fs::read_to_string(setting.path().join("host.log")).expect("the log of the host");
        assert!(log.contains("wasm backtrace") && log.contains(function), "no {function} in: {log}");
        assert!(!log.contains("Stack backtrace"), "the host's own functions are no help: {log}");
    }
    host.stop();
}
