//! The WASI interfaces that a component may import.

/// The WASI 0.2 interfaces that the host links. They grant nothing (no files, no sockets, no environment), except HTTP to
/// granted origins.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    HTTP,
    "wasi:http/types",
];

/// Sends HTTP requests; granted as the capability `http`.
pub(super) const HTTP: &str = "wasi:http/outgoing-handler";

/// Whether the host links `interface` (without its version).
pub(super) fn is_known(interface: &str) -> bool {
    INTERFACES.contains(&interface)
}
