//! What an author does, in whatever language.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reflow_tracing_tests::{Host, Setting, fixture, plugin};

/// Compiling a plugin with an interpreter in it takes that long on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder of the SDKs in the repository.
pub fn sdk(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").join(path)
}

/// The plugin in the folder `ledger`.
pub struct Author {
    setting: Setting,
}

impl Author {
    /// A new plugin over `keyvalue`, from nothing.
    pub fn create(language: &str) -> Self {
        Self::create_with(language, &[])
    }

    /// The same, with more arguments of `plugin new`.
    pub fn create_with(language: &str, arguments: &[&str]) -> Self {
        let author = Self { setting: Setting::empty() };
        let said = author.setting.stdout(&[&["plugin", "new", "ledger", "--lang", language], arguments].concat());
        assert!(said.contains("plugin build ledger") && said.contains("plugin test plugins/ledger.wasm"), "{said}");
        author
    }

    /// A file of the plugin.
    pub fn file(&self, path: &str) -> PathBuf {
        self.setting.path().join("ledger").join(path)
    }

    /// Replaces a part of a source file, which is there exactly once.
    pub fn edit(&self, path: &str, before: &str, after: &str) {
        let file = self.file(path);
        let text = fs::read_to_string(&file).expect("a file of the template");
        assert_eq!(text.matches(before).count(), 1, "{before:?} in {path}");
        fs::write(file, text.replace(before, after)).expect("a file of our own");
    }

    /// Compiles it into the plugins folder. Panics when that fails.
    pub fn build(&self) {
        let said = self.setting.stdout(&["plugin", "build", "ledger"]);
        assert!(said.contains("plugins/ledger.wasm") && said.contains("grants = "), "{said}");
    }

    /// The error of the build. Panics when it succeeds.
    pub fn fail_to_build(&self) -> String {
        self.setting.failure(&["plugin", "build", "ledger"])
    }

    /// The same, with no program on the PATH.
    pub fn fail_to_build_without_tools(&self) -> String {
        self.fail_to_build_with_path("/nowhere".as_ref())
    }

    /// The same, with these programs on the PATH.
    pub fn fail_to_build_with_path(&self, path: &OsStr) -> String {
        let mut command = self.setting.command(&["plugin", "build", "ledger"]);
        let output: Output = command.env("PATH", path).output().expect("the program starts");
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A host that stores in the plugin, and has taken the recorded session.
    pub fn serve_session(&self) -> Host {
        self.setting.write(
            "[server]\nport = 0\n[storage]\nbackend = \"ledger\"\n[plugins.ledger]\n\
             grants = { keyvalue = { default = \"file:ledger.kv\" } }\n\
             limits = { memory_mb = 256, call_timeout_ms = 60000, cpu_ms = 60000 }\n",
        );
        let host = Host::start(&self.setting);
        let session = fixture("reflow-session.jsonl");
        let session = session.to_str().expect("a path of ours");
        let report = self.setting.stdout(&["replay", session, "--server", &host.url]);
        assert!(report.contains("failed        0"), "{report}");
        host
    }

    /// What a query to the host prints, or its error.
    pub fn query(&self, host: &Host) -> Result<String, String> {
        let output = self.setting.run(&["query", "--server", &host.url]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Queries the host until the answer or the error contains `part`: a changed plugin is compiled before it takes over.
    pub fn query_until(&self, host: &Host, part: &str) -> String {
        let begin = Instant::now();
        loop {
            let said = self.query(host).unwrap_or_else(|error| error);
            if said.contains(part) {
                return said;
            }
            assert!(begin.elapsed() < PATIENCE, "no {part:?} in: {said}\nthe log:\n{}", host.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs lines of shell in the folder of the plugin. Panics when one fails; returns what they print.
    pub fn shell(&self, lines: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-euc", lines]).current_dir(self.file("")).env("GOTOOLCHAIN", "local");
        let output = shell.output().expect("the shell starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{lines}\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Starts `plugin dev`.
    pub fn develop(&self) -> Development {
        let mut command = self.setting.command(&["plugin", "dev", "ledger"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Development { process, lines }
    }

    /// Runs the program in the author's folder; panics when it fails.
    pub fn stdout(&self, arguments: &[&str]) -> String {
        self.setting.stdout(arguments)
    }
}

/// Held by what compiles plugins to machine code: the next one finds the functions of the language's runtime compiled.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for its turn to compile a plugin.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From nothing to a running plugin, and to another version of it while the host runs. `edit` makes every query fail with an error
/// that says `closed today`. Returns that error.
pub fn from_nothing_to_a_running_plugin(language: &str, edit: impl FnOnce(&Author)) -> String {
    let _turn = turn();
    let author = Author::create(language);
    author.build();
    // The example is the template, and passes the whole suite in a test of its own.
    let some = author.stdout(&["plugin", "test", "plugins/ledger.wasm", "--filter", "paging::"]);
    assert!(some.contains(" passed, 0 failed, 0 skipped"), "{some}");
    let host = author.serve_session();
    let traces = author.query(&host).expect("it is answered");
    assert!(traces.contains("network_session_") && traces.contains("1 trace"), "{traces}");
    let check = author.stdout(&["plugin", "check", "plugins/ledger.wasm", "--config", "reflow_tracing.toml"]);
    assert!(check.contains("grants `ledger` all that it may use"), "{check}");

    edit(&author);
    author.build();
    let error = author.query_until(&host, "closed today");
    host.stop();
    error
}

/// The template with these arguments of `plugin new` passes every case. Returns its author.
pub fn the_template_passes_the_suite(language: &str, arguments: &[&str]) -> Author {
    let _turn = turn();
    let author = Author::create_with(language, arguments);
    author.build();
    passes_the_suite(&author.setting, "plugins/ledger.wasm");
    author
}

/// The plugin `plugins/NAME.wasm` of the repository passes every case.
pub fn the_example_passes_the_suite(name: &str) {
    let _turn = turn();
    let file = plugin(name);
    passes_the_suite(&Setting::empty(), file.to_str().expect("a path of ours"));
}

fn passes_the_suite(setting: &Setting, file: &str) {
    let suite = setting.stdout(&["plugin", "test", file]);
    assert!(suite.contains(" passed, 0 failed, 0 skipped"), "{suite}");
}

/// A running `plugin dev`. It ends with its value.
pub struct Development {
    process: Child,
    lines: Receiver<String>,
}

impl Development {
    /// Waits for a line with `part`. Returns what was printed until then.
    pub fn until(&mut self, part: &str) -> String {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => said.push_str(&format!("{line}\n")),
                Err(error) => panic!("{error}: no {part:?} in: {said}"),
            }
            if said.ends_with('\n') && said.lines().last().is_some_and(|line| format!("{line}\n").contains(part)) {
                return said;
            }
        }
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
