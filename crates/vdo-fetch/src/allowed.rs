//! Which network addresses a document may come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses outside of the usual ranges where a cloud tells a machine about itself, credentials included.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Why nothing is fetched from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// This machine itself.
    Loopback,
    /// A neighbour on the same wire; among them the metadata services of clouds.
    LinkLocal,
    /// No address at all (`0.0.0.0/8` and `::`). A connection to it ends at this machine.
    Unspecified,
    /// Many machines.
    Multicast,
    /// All machines.
    Broadcast,
    /// The metadata service of a cloud at an address of its own.
    Metadata,
    /// A prefix for translation inside of one network (RFC 8215). Which IPv4 address is meant cannot be told.
    LocalTranslation,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Unspecified => "the unspecified address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Metadata => "the address of a metadata service",
            Self::LocalTranslation => "an address for translation inside of one network",
        })
    }
}

/// Whether a document may be fetched from an address.
///
/// Private ranges are allowed, since mirrors live there. An IPv6 address that stands for IPv4 addresses is
/// allowed if all of those are.
pub fn is_allowed(address: IpAddr) -> bool {
    forbidden(address).is_none()
}

pub(crate) fn forbidden(address: IpAddr) -> Option<Forbidden> {
    if METADATA.contains(&address) {
        return Some(Forbidden::Metadata);
    }
    match address {
        IpAddr::V4(four) => forbidden_four(four),
        IpAddr::V6(six) => forbidden_six(six),
    }
}

fn forbidden_four(four: Ipv4Addr) -> Option<Forbidden> {
    match four.octets() {
        [0, ..] => Some(Forbidden::Unspecified),
        [127, ..] => Some(Forbidden::Loopback),
        [169, 254, ..] => Some(Forbidden::LinkLocal),
        [224..=239, ..] => Some(Forbidden::Multicast),
        [255, 255, 255, 255] => Some(Forbidden::Broadcast),
        _ => None,
    }
}

fn forbidden_six(six: Ipv6Addr) -> Option<Forbidden> {
    match six.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Forbidden::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Forbidden::Loopback),
        [0xfe80..=0xfebf, ..] => Some(Forbidden::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Forbidden::Multicast),
        [0x64, 0xff9b, 1, ..] => Some(Forbidden::LocalTranslation),
        _ => stands_for(six).into_iter().flatten().find_map(|four| forbidden(IpAddr::V4(four))),
    }
}

/// The IPv4 addresses that packets to an IPv6 address may end at.
fn stands_for(six: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let four = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match six.segments() {
        // Mapped, translated, compatible (RFC 4291 and 2765), and NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [four(high, low), None],
        // 6to4.
        [0x2002, high, low, ..] => [four(high, low), None],
        // Teredo: the server, and the client with every bit turned.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            [four(server_high, server_low), four(!high, !low)]
        }
        // ISATAP, under any prefix.
        [.., 0 | 0x200, 0x5efe, high, low] => [four(high, low), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_allowed_or_refused_for_one_reason() {
        use Forbidden::{Broadcast, LinkLocal, LocalTranslation, Loopback, Metadata, Multicast, Unspecified};
        for (text, expected) in [
            ("192.0.2.1", None),
            ("8.8.8.8", None),
            ("10.0.0.1", None),
            ("172.16.0.1", None),
            ("172.31.255.255", None),
            ("192.168.1.1", None),
            ("100.64.0.1", None),
            ("1.0.0.0", None),
            ("126.255.255.255", None),
            ("128.0.0.0", None),
            ("169.253.255.255", None),
            ("169.255.0.0", None),
            ("223.255.255.255", None),
            ("240.0.0.1", None),
            ("255.255.255.254", None),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.255", Some(Loopback)),
            ("169.254.0.0", Some(LinkLocal)),
            ("169.254.169.254", Some(LinkLocal)),
            ("169.254.255.255", Some(LinkLocal)),
            ("224.0.0.1", Some(Multicast)),
            ("239.255.255.255", Some(Multicast)),
            ("255.255.255.255", Some(Broadcast)),
            ("100.100.100.200", Some(Metadata)),
            ("168.63.129.16", Some(Metadata)),
            ("2001:db8::1", None),
            ("2606:4700::1", None),
            ("fc00::1", None),
            ("fd12:3456::1", None),
            ("fe7f::1", None),
            ("fec0::1", None),
            ("::", Some(Unspecified)),
            ("::1", Some(Loopback)),
            ("fe80::1", Some(LinkLocal)),
            ("febf::1", Some(LinkLocal)),
            ("ff02::1", Some(Multicast)),
            ("fd00:ec2::254", Some(Metadata)),
            ("fd20:ce::254", Some(Metadata)),
            // Mapped.
            ("::ffff:10.0.0.1", None),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::ffff:169.254.169.254", Some(LinkLocal)),
            ("::ffff:0.0.0.0", Some(Unspecified)),
            ("::ffff:255.255.255.255", Some(Broadcast)),
            ("::ffff:100.100.100.200", Some(Metadata)),
            // Compatible.
            ("::192.0.2.1", None),
            ("::127.0.0.1", Some(Loopback)),
            ("::2", Some(Unspecified)),
            // Translated.
            ("::ffff:0:192.0.2.1", None),
            ("::ffff:0:169.254.169.254", Some(LinkLocal)),
            // NAT64, with the prefix that everybody knows and with one's own.
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b::127.0.0.1", Some(Loopback)),
            ("64:ff9b::169.254.169.254", Some(LinkLocal)),
            ("64:ff9b:1::8.8.8.8", Some(LocalTranslation)),
            // 6to4.
            ("2002:808:808::1", None),
            ("2002:7f00:1::1", Some(Loopback)),
            ("2002:a9fe:a9fe::", Some(LinkLocal)),
            // Teredo: 192.0.2.45 as the client, then 127.0.0.1 as client and as server.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", None),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", Some(Loopback)),
            ("2001:0:7f00:1:8000:63bf:3fff:fdd2", Some(Loopback)),
            // ISATAP.
            ("2001:db8::5efe:10.0.0.1", None),
            ("2001:db8::5efe:127.0.0.1", Some(Loopback)),
            ("2001:db8::200:5efe:169.254.169.254", Some(LinkLocal)),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(forbidden(address), expected, "{text}");
            assert_eq!(is_allowed(address), expected.is_none(), "{text}");
        }
    }
}
