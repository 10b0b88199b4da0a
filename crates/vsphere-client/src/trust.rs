//! Whom we believe to be the vCenter.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use vdo_peer::CertificateFault;

use crate::certificate::{Presented, sha1, sha256};
use crate::error::peer_text;

/// How the peer is verified before a byte of ours is sent.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the public certificate authorities. The default where nothing else is said.
    PublicRoots,
    /// By the authorities of a bundle, and by no other.
    CaBundle(CaBundle),
    /// By the fingerprint of the leaf certificate. Replaces the check of chain, name and dates; that the peer
    /// holds the certificate's key is still proven.
    Thumbprint(Thumbprint),
    /// Not at all: whoever answers gets the password. Only where the user asked for it in so many words.
    Insecure,
}

/// Certificates that the user trusts.
#[derive(Debug, Clone)]
pub struct CaBundle {
    roots: Arc<RootCertStore>,
    // Fingerprints of the bundle's own members: a server may present one of them as its leaf.
    members: Arc<[Thumbprint]>,
}

/// Why a bundle is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaBundleError {
    /// There is no `-----BEGIN CERTIFICATE-----` in it.
    #[error("the CA bundle has no certificate in PEM form")]
    Empty,
    /// A block that is not a certificate.
    #[error("certificate {position} of the CA bundle cannot be read")]
    Unreadable {
        /// Counted from one.
        position: usize,
    },
}

impl CaBundle {
    /// Reads every certificate of a PEM text. A bundle of which one cannot be read is refused as a whole.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CaBundleError> {
        let mut roots = RootCertStore::empty();
        let mut members = Vec::new();
        for (position, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let unreadable = CaBundleError::Unreadable { position: position + 1 };
            let certificate = certificate.map_err(|_| unreadable)?;
            members.push(sha256(&certificate));
            roots.add(certificate).map_err(|_| unreadable)?;
        }
        if members.is_empty() {
            return Err(CaBundleError::Empty);
        }
        Ok(Self { roots: Arc::new(roots), members: members.into() })
    }

    /// How many certificates it holds.
    pub fn size(&self) -> usize {
        self.members.len()
    }
}

/// The fingerprint of a certificate. Shown as upper-case hexadecimal pairs joined by colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thumbprint {
    /// Twenty bytes, as vCenter's own pages show it.
    Sha1([u8; 20]),
    /// Thirty-two bytes.
    Sha256([u8; 32]),
}

/// Why a thumbprint is none. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThumbprintError {
    /// Nothing was given. Never taken for a wish to skip verification.
    #[error("the thumbprint is empty")]
    Empty,
    /// Something else than hexadecimal pairs, with colons between all of them or between none.
    #[error("a thumbprint is hexadecimal pairs, with or without colons between them")]
    Shape,
    /// A number of bytes that no digest has.
    #[error("a thumbprint is 20 (SHA-1) or 32 (SHA-256) bytes, not {bytes}")]
    Length {
        /// How many were given.
        bytes: usize,
    },
}

impl Thumbprint {
    /// Reads a thumbprint in either case, with or without colons, with blanks around it.
    pub fn parse(text: &str) -> Result<Self, ThumbprintError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ThumbprintError::Empty);
        }
        let digits = if text.contains(':') {
            if text.split(':').any(|pair| pair.len() != 2) {
                return Err(ThumbprintError::Shape);
            }
            text.replace(':', "")
        } else {
            text.to_string()
        };
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || digits.len() % 2 != 0 {
            return Err(ThumbprintError::Shape);
        }
        let nibble = |b: u8| (b as char).to_digit(16).unwrap_or_default() as u8;
        let bytes: Vec<u8> =
            digits.as_bytes().chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
        if let Ok(bytes) = <[u8; 20]>::try_from(bytes.as_slice()) {
            return Ok(Self::Sha1(bytes));
        }
        if let Ok(bytes) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Self::Sha256(bytes));
        }
        Err(ThumbprintError::Length { bytes: bytes.len() })
    }

    fn of_same_kind(self, der: &[u8]) -> Self {
        match self {
            Self::Sha1(_) => sha1(der),
            Self::Sha256(_) => sha256(der),
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        for (position, byte) in bytes.iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Signed by nobody we trust, or self-signed.
    #[error("it was issued by an authority that is not trusted")]
    UnknownIssuer,
    /// Valid, and for somebody else. Names come from the alternative names only, as everywhere by now.
    #[error("it is not for the name or address we connect to")]
    NameMismatch,
    /// Too old.
    #[error("it has expired")]
    Expired,
    /// Too new, or a clock is wrong.
    #[error("it is not valid yet, or a clock is wrong")]
    NotYetValid,
    /// Another certificate than the pinned one.
    #[error("its fingerprint is not the expected {expected}")]
    ThumbprintMismatch {
        /// What was pinned.
        expected: Thumbprint,
    },
    /// Anything else.
    #[error("it is not acceptable: {0}")]
    Unacceptable(String),
}

/// Carried through the TLS library, so that a refusal arrives with the facts.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Distrusted {
    pub(crate) presented: Presented,
    pub(crate) why: Distrust,
}

impl Trust {
    /// TLS settings of our own provider; nothing is installed for the process and the system's roots are not
    /// read.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(ring::default_provider());
        let rule = match self {
            Self::PublicRoots => {
                let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                Rule::chain(Arc::new(roots), Arc::new([]), &provider)?
            }
            Self::CaBundle(bundle) => Rule::chain(bundle.roots.clone(), bundle.members.clone(), &provider)?,
            Self::Thumbprint(expected) => Rule::Pin(*expected),
            Self::Insecure => Rule::Anything,
        };
        let verifier = PeerVerifier { rule, provider: provider.clone() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // A resumed session shows no certificate; every connection of ours is verified anew.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

#[derive(Debug)]
enum Rule {
    Chain { webpki: Arc<WebPkiServerVerifier>, members: Arc<[Thumbprint]> },
    Pin(Thumbprint),
    Anything,
}

impl Rule {
    fn chain(
        roots: Arc<RootCertStore>,
        members: Arc<[Thumbprint]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build()?;
        Ok(Self::Chain { webpki, members })
    }
}

#[derive(Debug)]
struct PeerVerifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Distrust> {
        match &self.rule {
            Rule::Anything => Ok(()),
            Rule::Pin(expected) if expected.of_same_kind(leaf) == *expected => Ok(()),
            Rule::Pin(expected) => Err(Distrust::ThumbprintMismatch { expected: *expected }),
            Rule::Chain { webpki, members } => {
                let Err(error) = webpki.verify_server_cert(leaf, others, name, ocsp, now) else {
                    return Ok(());
                };
                // A self-signed authority that serves as its own leaf has no chain to check. The drivers, which
                // get the same bundle, accept it; name and dates are held to the same standard as elsewhere.
                if members.contains(&sha256(leaf)) { member(leaf, name, now) } else { Err(distrust(error)) }
            }
        }
    }
}

/// Checks dates and name of a certificate that the bundle itself contains.
fn member(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Distrust> {
    let facts = Presented::from_der(leaf);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match (facts.not_before, facts.not_after) {
        (Some(start), _) if now < start => return Err(Distrust::NotYetValid),
        (_, Some(end)) if now > end => return Err(Distrust::Expired),
        (Some(_), Some(_)) => {}
        _ => return Err(Distrust::Unacceptable("it cannot be read".to_string())),
    }
    let parsed = ParsedCertificate::try_from(leaf).map_err(distrust)?;
    verify_server_name(&parsed, name).map_err(distrust)
}

fn distrust(error: rustls::Error) -> Distrust {
    match CertificateFault::of(&error) {
        Some(CertificateFault::UnknownIssuer) => Distrust::UnknownIssuer,
        Some(CertificateFault::NameMismatch) => Distrust::NameMismatch,
        Some(CertificateFault::Expired) => Distrust::Expired,
        Some(CertificateFault::NotYetValid) => Distrust::NotYetValid,
        None => Distrust::Unacceptable(peer_text(&error.to_string())),
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, server_name, ocsp_response, now).map_err(|why| {
            let distrusted = Distrusted { presented: Presented::from_der(end_entity), why };
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrusted))))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    // That the peer holds the key is proven under every rule: without it a pin would pin nothing, since
    // certificates are public.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";

    #[test]
    fn a_thumbprint_is_read_in_every_spelling_and_shown_in_one() {
        for text in [
            SHA1.to_string(),
            SHA1.to_lowercase(),
            SHA1.replace(':', ""),
            SHA1.to_lowercase().replace(':', ""),
            format!(" \t{SHA1}\n"),
        ] {
            assert_eq!(Thumbprint::parse(&text).unwrap().to_string(), SHA1, "{text:?}");
        }
        let long = "ab".repeat(32);
        assert!(matches!(Thumbprint::parse(&long), Ok(Thumbprint::Sha256(bytes)) if bytes == [0xab; 32]));
    }

    #[test]
    fn what_is_not_a_thumbprint_is_an_error_and_never_insecure() {
        use ThumbprintError::{Empty, Length, Shape};
        for (text, error) in [
            ("", Empty),
            (" \n", Empty),
            (":", Shape),
            ("A9:", Shape),
            (":A9", Shape),
            ("A99:93E", Shape),
            ("A9:993E", Shape),
            ("A99", Shape),
            ("zz", Shape),
            ("é9", Shape),
            ("A9:+1", Shape),
            ("A9", Length { bytes: 1 }),
            ("A9:99", Length { bytes: 2 }),
            (&"ab".repeat(19), Length { bytes: 19 }),
            (&"ab".repeat(21), Length { bytes: 21 }),
            (&"ab".repeat(64), Length { bytes: 64 }),
        ] {
            assert_eq!(Thumbprint::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_bundle_without_a_readable_certificate_is_refused() {
        assert_eq!(CaBundle::from_pem(b"").unwrap_err(), CaBundleError::Empty);
        assert_eq!(CaBundle::from_pem(b"no pem at all\n").unwrap_err(), CaBundleError::Empty);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(CaBundle::from_pem(broken).unwrap_err(), CaBundleError::Unreadable { position: 1 });
    }
}
