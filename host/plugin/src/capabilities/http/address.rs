//! The addresses that a granted origin may have. Whoever controls a name decides where it leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the requests of a grant may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everywhere: the operator granted the address itself, or private ones.
    Everywhere,
    /// This machine.
    Loopback,
    /// Addresses of the internet.
    Internet,
}

impl Reach {
    /// Whether a request may go to this address.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Loopback => address.to_canonical().is_loopback(),
            Self::Internet => is_global(address),
        }
    }
}

/// Whether an address belongs to the internet: not to this machine, a private network, a link, or a special purpose.
fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

/// By IANA's registry of IPv4 addresses for special purposes.
fn is_global_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || first == 0
        || first >= 240
        // Shared by providers and their customers.
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        // Benchmarks.
        || (first == 198 && (18..20).contains(&second)))
}

/// By IANA's registry of IPv6 addresses. Global ones begin with the bits 001.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // Translated to IPv4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_global_v4(v4(high, low)),
        // Teredo, benchmarks, documentation and other protocols.
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_global() {
        for global in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "2606:4700::1111",
            "2001:4860::1",
            "64:ff9b::101:101",
        ] {
            assert!(Reach::Internet.allows(global.parse().unwrap()), "{global}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address = special.parse().unwrap();
            assert!(!Reach::Internet.allows(address), "{special}");
            assert!(Reach::Everywhere.allows(address), "{special}");
        }
        assert!(
            Reach::Loopback.allows("127.0.0.1".parse().unwrap())
                && !Reach::Loopback.allows("10.0.0.1".parse().unwrap())
        );
    }
}
