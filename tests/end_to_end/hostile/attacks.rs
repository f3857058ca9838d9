//! Requests that cost a plugin little and the host much.

use std::process::Stdio;

use reflow_tracing::plugin::Limits;
use reflow_tracing::storage::{Deletion, StorageBackend, StorageError};
use reflow_tracing::{FlowId, TraceId, TraceQuery};
use reflow_tracing_tests::{Backend, Setting, wait_watching_memory};

use super::{Hostile, Settings, limits};

/// In MiB. Those of the plugin below.
const MEMORY: u64 = 96;
const RESULT: u64 = 16;
/// What a process may take beside that.
const BESIDE: u64 = 150;

fn setting() -> Setting {
    let setting = Setting::new(Backend::Hostile);
    setting.write(&format!(
        "[storage]\nbackend = \"hostile\"\n[plugins.hostile]\n\
         grants = {{ sql = {{ default = \"sqlite:granted.db\" }}, keyvalue = {{ default = \"memory:\" }} }}\n\
         limits = {{ memory_mb = {MEMORY}, recycle_mb = {MEMORY}, result_mb = {RESULT}, call_timeout_ms = 20000, cpu_ms = 20000 }}\n"
    ));
    setting
}

/// The peak of the memory of a process in which the plugin does this, in MiB, and what it says.
fn peak(setting: &Setting, how: &str) -> (u64, String) {
    let mut command = setting.command(&["query", "--flow", how]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let stderr = process.stderr.take().expect("it is piped");
    let said = std::thread::spawn(move || std::io::read_to_string(stderr).expect("the program prints UTF-8"));
    let (_, peak) = wait_watching_memory(&mut process);
    (peak >> 20, said.join().expect("it is read"))
}

#[test]
fn what_the_host_does_for_a_plugin_stays_within_its_limits() {
    let setting = setting();
    let (base, _) = peak(&setting, "nothing");
    for (how, reason) in [
        ("columns", "the field `body` is requested twice"),
        ("unknown-columns", "is not a field"),
        ("bindings", "limits.result_mb"),
        ("fixed-bindings", "limits.result_mb"),
        ("long-statement", "the statement has 8388620 bytes"),
        ("cursors", "limits.result_mb"),
        ("entries", "bytes"),
        ("free-form-json", "limits.result_mb"),
        ("free-form-bodies", "limits.result_mb"),
    ] {
        let (peak, said) = peak(&setting, how);
        assert!(said.contains("`hostile`") && said.contains(reason), "{how}: {said}");
        assert!(peak < base + MEMORY + RESULT + BESIDE, "{how}: {peak} MiB, without it {base} MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_a_plugin_keeps_take_nothing_from_later_calls() {
    let limits = Limits {
        result_mb: 64,
        memory_mb: 96,
        recycle_mb: 96,
        instances: 1,
        call_timeout_ms: 60_000,
        cpu_ms: 60_000,
        ..limits()
    };
    let hostile = Hostile::load(limits).await;
    let ask = async |how: &str| {
        hostile.backend.query_traces(TraceQuery { flow_id: Some(FlowId::new(how)), ..TraceQuery::default() }).await
    };
    for _ in 0..4 {
        ask("keep").await.expect("each call may fill a batch");
    }
    let error = ask("use-kept").await.expect_err("it has ended").to_string();
    // The call was retried on another instance, which has kept nothing.
    assert!(error.contains("nothing is kept"), "{error}");
}

/// A plugin whose pages are wrong in this way.
async fn with_pages(how: &str) -> Hostile {
    let settings: Settings = [("pages".to_owned(), how.into())].into_iter().collect();
    Hostile::try_load(limits(), settings).await.expect("it loads")
}

const LISTINGS: [(&str, &str); 5] = [
    ("repeated", "a page without further"),
    ("empty", "a page without further"),
    ("same-token", "is the token of the page itself"),
    ("disordered", "not in order"),
    ("long-token", "has 1048576 bytes"),
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_events_without_progress_are_an_error() {
    for (how, reason) in LISTINGS {
        let error = with_pages(how).await.backend.get_events(TraceId::new()).await.expect_err("it pages for ever");
        assert_breach(&error, "get-events", reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_traces_without_progress_are_an_error() {
    for (how, reason) in LISTINGS {
        let hostile = with_pages(how).await;
        let deletion = Deletion::StartedBefore("2027-01-01T00:00:00Z".parse().expect("a time"));
        let error = hostile.backend.delete(deletion).await.expect_err("it pages for ever");
        assert_breach(&error, "query-traces", reason);
    }
}

fn assert_breach(error: &StorageError, call: &str, reason: &str) {
    let text = error.to_string();
    assert!(text.contains("`hostile`") && text.contains(call) && text.contains(reason), "{text}");
}

/// The component with a module of so many functions at its end.
#[cfg(target_os = "linux")]
fn with_functions(mut component: Vec<u8>, functions: u32) -> Vec<u8> {
    fn leb(mut number: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id][..], &leb(content.len() as u32), content].concat()
    }
    // Each returns a number.
    let code = (0..functions).flat_map(|_| [4, 0, 0x41, 7, 0x0b]).collect::<Vec<u8>>();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 1, 0x7f]),
        section(3, &[leb(functions), vec![0; functions as usize]].concat()),
        section(10, &[leb(functions), code].concat()),
    ];
    component.extend(section(1, &module.concat()));
    component
}

/// Elsewhere, the memory of the process that compiles is not limited.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_takes_too_much_to_compile_is_refused_while_the_host_runs() {
    use std::time::{Duration, Instant};

    use reflow_tracing_tests::{Host, peak_memory, test_plugin};

    let setting = Setting::new(Backend::Hostile);
    setting.write(
        "[server]\nport = 0\n[storage]\nbackend = \"hostile\"\n[plugins]\ncompile_memory_mb = 112\n[plugins.hostile]\n\
         grants = { sql = { default = \"sqlite:granted.db\" } }\n",
    );
    let host = Host::start(&setting);
    let before = peak_memory(host.process_id());
    let crafted = with_functions(std::fs::read(test_plugin("hostile")).expect("it was built"), 190_000);
    std::fs::write(setting.path().join("plugins/hostile.wasm"), crafted).expect("a file of our own");
    let start = Instant::now();
    while !host.log().contains("plugins.compile_memory_mb") {
        assert!(start.elapsed() < Duration::from_secs(120), "{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(host.log().contains("the running version stays"), "{}", host.log());
    let grown = (peak_memory(host.process_id()) - before) >> 20;
    assert!(grown < BESIDE, "the host grew by {grown} MiB");
    host.stop();
}
