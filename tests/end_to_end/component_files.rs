//! Files in the plugins folder: components of other versions, core modules, and files that are not plugins.

use std::fs;
use std::path::PathBuf;

use reflow_tracing::plugin::{Grants, Kind, Limits, PluginBackend, PluginComponent, PluginConfig, inspect};
use reflow_tracing::storage::conformance::{Subject, Suite};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_tests::{plugin, test_plugin};
use tempfile::TempDir;

/// A file in a temporary folder, with these bytes.
fn file(name: &str, content: &[u8]) -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(name);
    fs::write(&file, content).expect("a file of ours");
    (file, folder)
}

/// A real component in which one text is replaced with another of the same length, such as the name of an interface.
fn renamed(from: &str, to: &str) -> (PathBuf, TempDir) {
    renamed_in(plugin("relational"), from, to)
}

/// The same in another file.
fn renamed_in(original: PathBuf, from: &str, to: &str) -> (PathBuf, TempDir) {
    assert_eq!(from.len(), to.len(), "the lengths of names stand before them");
    let mut content = fs::read(original).expect("it is built");
    let mut found = 0;
    for start in 0..content.len() - from.len() {
        if content[start..].starts_with(from.as_bytes()) {
            content[start..start + from.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "no {from} in the component");
    file("renamed.wasm", &content)
}

fn config(folder: &TempDir) -> PluginConfig {
    let database = format!("sqlite:{}", folder.path().join("traces.db").display());
    PluginConfig {
        grants: Grants { sql: [("default".into(), database)].into(), ..Grants::default() },
        // Generous: a busy machine must not fail the test.
        limits: Limits { call_timeout_ms: 60_000, cpu_ms: 60_000, ..Limits::default() },
        ..PluginConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_with_cyclic_packages_is_refused() {
    // `storage` uses the batches of `storagx`, which use the types of `storage`.
    let cyclic = renamed_in(test_plugin("core-module"), "reflow:storage/batch", "reflow:storagx/batch");
    refused(&cyclic, &["can't be converted to a component", "depends on itself through other packages"]).await;
}

/// Checks that the host refuses to load the file, and why.
async fn refused(file: &(PathBuf, TempDir), parts: &[&str]) {
    let error = PluginComponent::load("candidate", &file.0, &config(&file.1)).await.err().expect("it does not load");
    let message = error.to_string();
    for part in ["`candidate`"].iter().chain(parts) {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

async fn keeps_the_contract(component: PluginComponent, cases: &str) {
    let open = || async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = PluginBackend::open("candidate", component.clone(), &config(&folder)).await?;
        Ok::<_, StorageError>(Subject::new(backend).keeping(folder))
    };
    Suite::new().only(cases).run(open).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_with_an_embedded_world_is_made_a_component() {
    let file = test_plugin("core-module");
    assert_eq!(&fs::read(&file).expect("it is built")[..8], b"\0asm\x01\0\0\0", "it is a core module");
    let inspection = inspect(&file).expect("it is read");
    assert_eq!((inspection.kind, inspection.problems.len()), (Kind::CoreModule, 0));
    assert_eq!(inspection.may_use().collect::<Vec<_>>(), ["sql"]);
    let component = PluginComponent::load("core-module", &file, &PluginConfig::default()).await.expect("it loads");
    keeps_the_contract(component, "batches").await;
}

// Plugins in Go, which name no world, are among the tests of languages.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_that_names_no_world_and_imports_unknown_types_is_refused() {
    // The section that names the world has another name. The standard library of Rust imports WASI 0.2.
    let nameless = renamed_in(test_plugin("core-module"), "component-type", "component-typo");
    refused(&nameless, &["names no world", "imports `wasi:", "whose types this host does not have"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_that_calls_wasi_preview_1_is_given_the_adapter() {
    let file = test_plugin("preview1");
    let content = fs::read(&file).expect("it is built");
    let preview_1 = b"wasi_snapshot_preview1";
    assert!(content.windows(preview_1.len()).any(|window| window == preview_1), "it imports preview 1");
    let before = chrono::Utc::now();
    let backend = PluginBackend::load("preview1", &file, &PluginConfig::default()).await.expect("it loads");
    let stats = backend.stats().await.expect("preview 1 answers");
    let told = stats.newest.expect("the time of its clock");
    assert!(before <= told && told <= chrono::Utc::now(), "{told}");
    assert_eq!(stats.traces, 0, "its environment is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_another_patch_of_the_contract_works() {
    let (file, _folder) = renamed("@0.1.1", "@0.1.7");
    let inspection = inspect(&file).expect("it is read");
    assert_eq!((inspection.contract.as_deref(), inspection.problems.len()), (Some("0.1.7"), 0));
    let component = PluginComponent::load("patched", &file, &PluginConfig::default()).await.expect("it loads");
    keeps_the_contract(component, "batches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_another_contract_is_refused_with_both_versions() {
    let newer = renamed("@0.1.1", "@0.2.0");
    refused(&newer, &["this host has contract 0.1.1", "built for reflow:storage 0.2.0", "newer host", "against 0.1"])
        .await;
    let older = renamed("@0.1.1", "@0.0.9");
    refused(&older, &["contract 0.1.1", "0.0.9", "rebuild the component against 0.1"]).await;
    // An invalid world: its packages depend on each other.
    refused(&renamed("reflow:storage/batch@0.1.1", "reflow:storage/batch@0.2.0"), &["0.2.0 (batch)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_import_that_the_host_cannot_satisfy_is_named() {
    let unknown = renamed("reflow:capabilities/sql", "reflow:capabilities/sqk");
    refused(&unknown, &["`reflow:capabilities/sqk@0.1.1`", "reflow:capabilities has", "sql"]).await;
    let function = renamed("]connection.dialect", "]connection.dialekt");
    refused(&function, &["`[method]connection.dialekt`", "`reflow:capabilities/sql`", "contract 0.1.1"]).await;
    let foreign = renamed("reflow:capabilities/sql", "evil:hostage-takers/sql");
    refused(&foreign, &["`evil:hostage-takers/sql@0.1.1`", "no host provides"]).await;
    let export = renamed("reflow:storage/backend", "reflow:storage/bakcend");
    refused(&export, &["does not export `reflow:storage/backend`", "reflow:capabilities/plugin"]).await;
    let missing = renamed("health-check", "wealth-check");
    refused(&missing, &["no function `health-check`"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_component_is_refused_with_a_remedy() {
    let component = fs::read(plugin("relational")).expect("it is built");
    let cases: [(&str, &[u8], &[&str]); 8] = [
        ("p.wasm", &component[..component.len() / 2], &["truncated"]),
        ("p.wasm", &component[..6], &["ends within", "copy it again"]),
        ("p.wasm", b"", &["empty"]),
        ("p.wasm", b"\0asm\x01\0\0\0", &["core WebAssembly module", "wasm32-wasip2", "reflow:storage/backend"]),
        ("p.wasm", b"\x7fELF\x02\x01\x01\0", &["machine code", "use the .wasm file"]),
        ("p.cwasm", &component, &["machine code", "use the .wasm file"]),
        ("p.wat", b"(component)", &["text format", "wasm-tools parse"]),
        ("p.wasm", b"<!doctype html><html>", &["web page", "download it again"]),
    ];
    for (name, content, parts) in cases {
        refused(&file(name, content), parts).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    refused(&(folder.path().to_owned(), tempfile::tempdir().expect("a temporary folder")), &["a folder"]).await;
    refused(&(folder.path().join("missing.wasm"), folder), &["missing.wasm", "can't read the file"]).await;
}

#[test]
fn a_damaged_component_crashes_nothing() {
    let component = fs::read(plugin("relational")).expect("it is built");
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut damaged = component.clone();
        for _ in 0..4 {
            let place = random.usize(8..damaged.len());
            damaged[place] = random.u8(..);
        }
        let (file, _folder) = file("damaged.wasm", &damaged);
        // The result may be a valid component; the check only must return.
        let _ = inspect(&file);
    }
}
