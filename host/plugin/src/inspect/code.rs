//! How much code a component has, and what compiling it takes.

use serde::Serialize;
use wasmparser::{Parser, Payload};

/// What the host compiles at most. Components of Python and JavaScript have some 14,000 functions with 10 MB, the largest of
/// which has 430 KB.
const MAX_FUNCTIONS: u64 = 200_000;
const MAX_FUNCTION_BYTES: u64 = 64 * 1024 * 1024;
const MAX_LARGEST_FUNCTION_BYTES: u64 = 4 * 1024 * 1024;
const MAX_MODULES: u64 = 100;

// Rough. A component with 990,000 functions took 97 s and 5.2 GB on two cores, one in Python (13,400 functions with 6.6 MB) 320 MB
// beside what the process itself takes.
const BYTES_PER_SECOND: f64 = 600_000.0;
const FUNCTIONS_PER_SECOND: f64 = 8_000.0;
const BASE_MB: u64 = 30;
const MEMORY_PER_BYTE: u64 = 40;
const MEMORY_PER_FUNCTION: u64 = 5_000;

/// The code of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Code {
    /// Its core modules.
    pub modules: u32,
    /// Their functions, each of which is compiled.
    pub functions: u32,
    /// The size of the functions, in bytes.
    pub function_bytes: u64,
    /// The size of the largest of them, in bytes.
    pub largest_function_bytes: u64,
    /// The size of the data that an instance starts with, in bytes.
    pub data_bytes: u64,
}

impl Code {
    pub(crate) fn of(component: &[u8]) -> wasmparser::Result<Self> {
        let mut code = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::ModuleSection { .. } => code.modules += 1,
                Payload::CodeSectionStart { count, size, .. } => {
                    code.functions = code.functions.saturating_add(count);
                    code.function_bytes += u64::from(size);
                }
                Payload::CodeSectionEntry(body) => {
                    let bytes = (body.range().end - body.range().start) as u64;
                    code.largest_function_bytes = code.largest_function_bytes.max(bytes);
                }
                Payload::DataSection(section) => {
                    code.data_bytes += (section.range().end - section.range().start) as u64;
                }
                _ => {}
            }
        }
        Ok(code)
    }

    /// Fails when there is more code than the host compiles.
    pub fn check(&self) -> Result<(), String> {
        let limits = [
            ("functions", u64::from(self.functions), MAX_FUNCTIONS),
            ("bytes of functions", self.function_bytes, MAX_FUNCTION_BYTES),
            ("bytes in its largest function", self.largest_function_bytes, MAX_LARGEST_FUNCTION_BYTES),
            ("modules", u64::from(self.modules), MAX_MODULES),
        ];
        match limits.iter().find(|(_, found, most)| found > most) {
            None => Ok(()),
            Some((what, found, most)) => Err(format!(
                "it has {found} {what}, which would take too much time and memory to compile; the maximum is {most}"
            )),
        }
    }

    /// About how many seconds of one processor it takes to compile, without a cache.
    pub fn estimated_cpu_seconds(&self) -> f64 {
        self.function_bytes as f64 / BYTES_PER_SECOND + f64::from(self.functions) / FUNCTIONS_PER_SECOND
    }

    /// About how much memory it takes to compile, in MiB.
    pub fn estimated_mb(&self) -> u64 {
        BASE_MB
            + (self.function_bytes * MEMORY_PER_BYTE + u64::from(self.functions) * MEMORY_PER_FUNCTION) / (1024 * 1024)
    }
}
