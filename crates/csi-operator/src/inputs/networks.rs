//! Networks of `netPermissions`.

use core::net::IpAddr;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// `*`.
    All,
    /// The addresses that begin with the same bits.
    Prefix { address: IpAddr, bits: u32 },
}

pub(super) fn parse(written: &str) -> Option<Network> {
    if written == "*" {
        return Some(Network::All);
    }
    let (address, bits) = match written.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (written, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(longest);
    (bits <= longest).then_some(Network::Prefix { address, bits })
}

impl Network {
    pub(super) fn overlaps(&self, other: &Network) -> bool {
        let (Network::Prefix { address: a, bits: x }, Network::Prefix { address: b, bits: y }) =
            (self, other)
        else {
            return true;
        };
        let shared = *x.min(y);
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= shared,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= shared,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_from_other_texts() {
        for good in ["*", "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::1"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "*.*", "a b", "fd00::/129", "10.0.0.0/", "300.1.1.1"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let overlap = |a, b| parse(a).unwrap().overlaps(&parse(b).unwrap());
        assert!(
            overlap("10.0.0.0/8", "10.1.0.0/16")
                && overlap("*", "fd00::/8")
                && overlap("0.0.0.0/0", "9.9.9.9")
        );
        assert!(!overlap("10.0.0.0/16", "10.1.0.0/16") && !overlap("10.0.0.0/8", "fd00::/8"));
    }
}
