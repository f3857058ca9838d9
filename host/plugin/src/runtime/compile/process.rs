//! Compiles in a process of its own: what a crafted component takes in memory and in time is taken from that process, which has
//! limits, and not from the host.
//!
//! The host writes a request and the component to the process's stdin, and reads the code from its stdout. So the code never
//! lies where another user could change it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Compilation, Machine};

/// The most code that a component may become, in bytes. That of a plugin in Python has 36 MB.
const MAX_CODE: u64 = 128 * 1024 * 1024;
/// The longest line of the process that is read.
const MAX_LINE: usize = 4 * 1024;

/// A program that compiles components, in a process of its own for each: one whose `main` calls [`run_compiler`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerProcess {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The most memory that a compilation may take, in MiB. Enforced on Linux.
    pub memory_mb: u32,
    /// The most processor time that it may take, in seconds. Enforced on Unix.
    pub cpu_s: u32,
}

/// What the process is to do. One line of JSON, followed by the component.
#[derive(Serialize, Deserialize)]
struct Request {
    stack_kb: u32,
    /// The folder of compiled functions.
    folder: Option<PathBuf>,
    memory_mb: u32,
    cpu_s: u32,
}

impl CompilerProcess {
    /// Compiles `component`. Calls `progress` with what there is to say meanwhile.
    pub(super) fn compile(
        &self,
        compilation: &Compilation<'_>,
        component: &[u8],
        progress: impl Fn(&str) + Sync,
    ) -> wasmtime::Result<Machine> {
        let failed =
            |error: io::Error| wasmtime::Error::msg(format!("can't run the process that compiles it: {error}"));
        let mut process = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let last = Mutex::new(String::new());
        let code = self.talk(&mut process, compilation, component, |line| {
            if line.starts_with(PROGRESS) {
                progress(line);
            } else if let Ok(mut last) = last.lock()
                // More lines may follow the one that says why.
                && !is_out_of_memory(&last)
            {
                line.clone_into(&mut last);
            }
        });
        if code.is_err() {
            // It may have ended already.
            let _ = process.kill();
        }
        let status = process.wait().map_err(failed)?;
        match code {
            Ok(code) if status.success() => Ok(code),
            result => {
                let last = last.into_inner().unwrap_or_default();
                // What it says explains more than a pipe that it closed.
                Err(wasmtime::Error::msg(match result {
                    Err(error) if status.success() || error.kind() == io::ErrorKind::FileTooLarge => error.to_string(),
                    _ => self.explain(status, &last),
                }))
            }
        }
    }

    /// Writes the request and reads the answer.
    fn talk(
        &self,
        process: &mut Child,
        compilation: &Compilation<'_>,
        component: &[u8],
        line: impl Fn(&str) + Sync,
    ) -> io::Result<Machine> {
        let closed = || io::Error::other("it has no pipes");
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (stdin, stdout, stderr) =
            (stdin.ok_or_else(closed)?, stdout.ok_or_else(closed)?, stderr.ok_or_else(closed)?);
        thread::scope(|threads| {
            let wrote = threads.spawn(|| self.write(stdin, compilation, component));
            threads.spawn(|| {
                let mut stderr = BufReader::new(stderr);
                let mut bytes = Vec::new();
                while let Ok(1..) = stderr.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut bytes) {
                    line(String::from_utf8_lossy(&bytes).trim_end());
                    bytes.clear();
                }
            });
            let code = read(stdout)?;
            match wrote.join() {
                Ok(written) => written.map(|()| code),
                Err(_) => Err(io::Error::other("writing to it failed")),
            }
        })
    }

    fn write(&self, mut stdin: ChildStdin, compilation: &Compilation<'_>, component: &[u8]) -> io::Result<()> {
        let request = Request {
            stack_kb: compilation.stack_kb,
            folder: compilation.folder.map(Into::into),
            memory_mb: self.memory_mb,
            cpu_s: self.cpu_s,
        };
        let mut request = serde_json::to_vec(&request)?;
        request.push(b'\n');
        stdin.write_all(&request)?;
        stdin.write_all(component)
    }

    /// Why the process ended without an answer. `last` is the last line that it wrote.
    fn explain(&self, status: ExitStatus, last: &str) -> String {
        let Self { memory_mb, cpu_s, .. } = self;
        if is_out_of_time(status) {
            return format!(
                "compiling it takes more than {cpu_s} s of processor time, the maximum of plugins.compile_cpu_s: build it with \
                 optimization, or raise the limit if you trust it"
            );
        }
        if is_out_of_memory(last) {
            return format!(
                "compiling it takes more than {memory_mb} MiB of memory, the maximum of plugins.compile_memory_mb: build it with \
                 optimization, or raise the limit if you trust it"
            );
        }
        match last.strip_prefix(ERROR) {
            Some(error) => error.to_owned(),
            None => format!("the process that compiles it ended ({status}): {last}"),
        }
    }
}

/// How lines of the process begin.
const PROGRESS: &str = "compiling: ";
const ERROR: &str = "error: ";

/// The answer: how many functions were found compiled, then the code.
fn read(mut stdout: ChildStdout) -> io::Result<Machine> {
    let mut found = [0; 4];
    stdout.read_exact(&mut found)?;
    let mut code = Vec::new();
    stdout.take(MAX_CODE + 1).read_to_end(&mut code)?;
    if code.len() as u64 > MAX_CODE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is compiled to more than {} MiB of code, the maximum", MAX_CODE >> 20),
        ));
    }
    Ok(Machine { code, found: u32::from_le_bytes(found) })
}

/// Whether a line of the process says that an allocation failed.
fn is_out_of_memory(line: &str) -> bool {
    ["memory allocation of", "out of memory", "Cannot allocate memory"].iter().any(|part| line.contains(part))
}

#[cfg(unix)]
fn is_out_of_time(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    // SIGXCPU has another number on each system.
    status.signal() == Some(rustix::process::Signal::XCPU.as_raw())
}

#[cfg(not(unix))]
fn is_out_of_time(_: ExitStatus) -> bool {
    false
}

/// Does what a [`CompilerProcess`] is for: reads a request and a component from stdin, and writes the code to stdout.
///
/// To be called before the program starts threads, so that the limits hold for all of them.
pub fn run_compiler() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line. The host may be gone.
            let _ = writeln!(io::stderr(), "{ERROR}{}", error.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let mut stdin = BufReader::new(io::stdin());
    let (mut request, mut component) = (String::new(), Vec::new());
    stdin.read_line(&mut request).map_err(|error| error.to_string())?;
    let request: Request = serde_json::from_str(&request)
        .map_err(|error| format!("this is a part of the host, which starts it to compile a plugin: {error}"))?;
    limit(&request).map_err(|error| format!("can't limit the process that compiles it: {error}"))?;
    stdin.read_to_end(&mut component).map_err(|error| error.to_string())?;
    let Request { stack_kb, ref folder, .. } = request;
    let compilation = Compilation { stack_kb, folder: folder.as_deref() };
    let tell = |done: u32, functions: u32| {
        let _ = writeln!(io::stderr(), "{PROGRESS}{done} of {functions} functions");
    };
    let Machine { code, found } = compilation.run(&component, tell).map_err(|error| format!("{error:#}"))?;
    let mut stdout = io::stdout().lock();
    let answered = stdout.write_all(&found.to_le_bytes()).and_then(|()| stdout.write_all(&code));
    answered.and_then(|()| stdout.flush()).map_err(|error| error.to_string())
}

/// Limits the memory and the processor time of this process.
#[cfg(unix)]
fn limit(request: &Request) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    // At the maximum it is killed, a moment after the signal that says why.
    let set = |resource, most: u64| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most.saturating_add(1)) })
    };
    // The memory that it writes to; the address space has more, which it only reserves.
    if cfg!(target_os = "linux") {
        set(Resource::Data, u64::from(request.memory_mb) << 20)?;
    }
    set(Resource::Cpu, u64::from(request.cpu_s))?;
    set(Resource::Core, 0)?;
    // The host goes first.
    let _ = nice(5);
    Ok(())
}

#[cfg(not(unix))]
fn limit(_: &Request) -> io::Result<()> {
    Ok(())
}
