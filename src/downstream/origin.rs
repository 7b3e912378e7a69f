//! The addresses that count as one peer.
//!
//! Owns: [`origin_of`]. Never knows: what is counted by peer.

use std::net::{IpAddr, SocketAddr};

use crate::session::Origin;

/// Any process of this machine may use all of 127.0.0.0/8, and a host has a whole network (/64) of IPv6.
pub(super) fn origin_of(address: SocketAddr) -> Origin {
    match address.ip().to_canonical() {
        ip if ip.is_loopback() => Origin::Here,
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            Origin::Network([0, 0, 0, 0, a, b, c, d])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            Origin::Network([a, b, c, d, e, f, g, h])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn addresses_among_which_a_host_can_choose_are_one_peer() {
        for (one, other, is_same) in [
            ("192.0.2.1:1", "192.0.2.1:2", true),
            ("192.0.2.2:1", "192.0.2.3:1", false),
            ("192.0.2.2:1", "[::ffff:192.0.2.2]:9", true),
            ("[2001:db8::1]:1", "[2001:db8::2]:9", true),
            ("[2001:db8:0:2::1]:1", "[2001:db8:0:3::1]:1", false),
            ("127.0.0.1:1", "127.7.8.9:2", true),
            ("127.0.0.1:1", "[::ffff:127.0.0.2]:2", true),
            ("127.0.0.1:1", "[::1]:2", true),
            ("127.0.0.1:1", "192.0.2.1:1", false),
        ] {
            let origin = |text: &str| origin_of(text.parse().unwrap());
            assert_eq!(origin(one) == origin(other), is_same, "{one} {other}");
        }
    }
}
