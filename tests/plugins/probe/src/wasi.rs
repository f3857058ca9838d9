//! Checks that WASI offers clocks and random numbers, and nothing else.

use reflow_tracing_plugin::Result;
use wasip2::cli::environment;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::random::random;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

/// What a plugin can see and reach, as lines of `name=value`.
pub fn look_around() -> Result<String> {
    let before = monotonic_clock::now();
    monotonic_clock::subscribe_duration(1_000_000).block();
    let waited = monotonic_clock::now() - before >= 1_000_000;
    let (one, other) = (random::get_random_bytes(16), random::get_random_bytes(16));
    let findings = [
        ("time", wall_clock::now().seconds.to_string()),
        ("waited", waited.to_string()),
        ("random", (one.len() == 16 && one != other).to_string()),
        ("variables", environment::get_environment().len().to_string()),
        ("arguments", environment::get_arguments().len().to_string()),
        ("folder", format!("{:?}", environment::initial_cwd())),
        ("folders", preopens::get_directories().len().to_string()),
        ("tcp", tcp()),
        ("udp", udp()),
        ("names", names()),
    ];
    Ok(findings.map(|(name, value)| format!("{name}={value}")).join("\n"))
}

/// An address on the local machine.
fn local() -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 80, address: (127, 0, 0, 1) })
}

fn tcp() -> String {
    let socket = match create_tcp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(error) => return error.name().to_owned(),
    };
    let started = socket.start_connect(&instance_network(), local());
    socket.subscribe().block();
    let outcome = started.and_then(|()| socket.finish_connect().map(drop));
    outcome.map_or_else(|error| error.name().to_owned(), |()| "connected".into())
}

fn udp() -> String {
    let socket = match create_udp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(error) => return error.name().to_owned(),
    };
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (127, 0, 0, 1) });
    let bound = socket.start_bind(&instance_network(), any).and_then(|()| socket.finish_bind());
    let outcome = bound.and_then(|()| socket.stream(Some(local())).map(drop));
    outcome.map_or_else(|error| error.name().to_owned(), |()| "open".into())
}

fn names() -> String {
    let outcome = resolve_addresses(&instance_network(), "localhost").and_then(|addresses| {
        addresses.subscribe().block();
        addresses.resolve_next_address()
    });
    outcome.map_or_else(|error| error.name().to_owned(), |address| format!("{address:?}"))
}
