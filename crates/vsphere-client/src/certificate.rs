//! What a peer's certificate says about itself.

use std::net::IpAddr;

use ring::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::error::peer_text;
use crate::trust::Thumbprint;

/// How many names of a certificate are kept.
const SHOWN_NAMES: usize = 20;

/// The facts of the leaf certificate that a peer presented. Everything but the fingerprints is the peer's own
/// word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Fingerprint by SHA-256.
    pub sha256: Thumbprint,
    /// Fingerprint by SHA-1.
    pub sha1: Thumbprint,
    /// Distinguished name of the holder; empty if it could not be read.
    pub subject: String,
    /// Distinguished name of the issuer; empty if it could not be read.
    pub issuer: String,
    /// Start of validity, in seconds since 1970.
    pub not_before: Option<i64>,
    /// End of validity, in seconds since 1970.
    pub not_after: Option<i64>,
    /// Host names it is for, at most twenty.
    pub dns_names: Vec<String>,
    /// Addresses it is for, at most twenty.
    pub addresses: Vec<IpAddr>,
}

impl Presented {
    /// Reads a certificate in DER. One that cannot be read still has its fingerprints.
    pub(crate) fn from_der(der: &[u8]) -> Self {
        let mut facts = Self {
            sha256: sha256(der),
            sha1: sha1(der),
            subject: String::new(),
            issuer: String::new(),
            not_before: None,
            not_after: None,
            dns_names: Vec::new(),
            addresses: Vec::new(),
        };
        let Ok((_, certificate)) = parse_x509_certificate(der) else { return facts };
        facts.subject = peer_text(&certificate.subject().to_string());
        facts.issuer = peer_text(&certificate.issuer().to_string());
        facts.not_before = Some(certificate.validity().not_before.timestamp());
        facts.not_after = Some(certificate.validity().not_after.timestamp());
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return facts };
        for name in &names.value.general_names {
            if let GeneralName::DNSName(name) = name
                && facts.dns_names.len() < SHOWN_NAMES
            {
                facts.dns_names.push(peer_text(name));
            }
            if let GeneralName::IPAddress(bytes) = name
                && facts.addresses.len() < SHOWN_NAMES
            {
                facts.addresses.extend(address(bytes));
            }
        }
        facts
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

pub(crate) fn sha256(der: &[u8]) -> Thumbprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Thumbprint::Sha256(bytes)
}

pub(crate) fn sha1(der: &[u8]) -> Thumbprint {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref());
    Thumbprint::Sha1(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_certificate_still_have_fingerprints() {
        let facts = Presented::from_der(b"abc");
        assert_eq!(facts.sha1.to_string(), "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D");
        assert!(facts.sha256.to_string().starts_with("BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:"));
        assert_eq!((facts.subject.as_str(), facts.not_after), ("", None));
    }
}
