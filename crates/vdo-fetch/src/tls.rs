//! Whom we believe to be the server.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use vdo_peer::CertificateFault;

use crate::error::peer_text;

/// The authorities whose certificates are believed. There is no way to believe everybody.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

/// Why a bundle is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// There is no `-----BEGIN CERTIFICATE-----` in it.
    #[error("the CA bundle has no certificate in PEM form: put the certificates of your authority into it")]
    Empty,
    /// A block that is not a certificate.
    #[error("certificate {position} of the CA bundle cannot be read: replace it")]
    Unreadable {
        /// Counted from one.
        position: usize,
    },
}

impl Roots {
    /// The public authorities, as of this release.
    pub fn public() -> Self {
        Self(Arc::new(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())))
    }

    /// The public authorities, and the certificates of a PEM text. A bundle of which one cannot be read is
    /// refused as a whole.
    pub fn with_bundle(pem: &[u8]) -> Result<Self, BundleError> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let public = roots.len();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let unreadable = BundleError::Unreadable { position: index + 1 };
            let certificate = certificate.map_err(|_| unreadable)?;
            roots.add(certificate).map_err(|_| unreadable)?;
        }
        if roots.len() == public { Err(BundleError::Empty) } else { Ok(Self(Arc::new(roots))) }
    }

    /// TLS of our own provider; nothing is installed for the process and the system's roots are not read.
    pub(crate) fn connector(&self) -> TlsConnector {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_root_certificates(self.0.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Minutes or hours pass between two fetches; each verifies the certificate anew.
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}

/// What is wrong with a server's certificate, or with its TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Signed by nobody we trust, or self-signed, or by a key that only shares the name of one we trust.
    #[error(
        "its certificate was issued by an authority that is not trusted; put the certificate of that authority, \
         as it is now, into the chart value caBundle (vdoctl: --ca-bundle)"
    )]
    UnknownAuthority,
    /// Valid, and for somebody else.
    #[error(
        "its certificate is for another name; use a name that is in the certificate, or have it issued anew"
    )]
    NameMismatch,
    /// Too old.
    #[error("its certificate has expired; have it renewed")]
    Expired,
    /// Too new, or a clock is wrong.
    #[error("its certificate is not valid yet, or a clock is wrong; check the clocks of both machines")]
    NotYetValid,
    /// Something else than TLS listens on the port.
    #[error("it does not speak TLS; check the port")]
    NotTls,
    /// Anything else, in the words of the TLS library.
    #[error(
        "no agreement on TLS ({0}); check that it offers TLS 1.2 or 1.3 and asks for no client certificate"
    )]
    Other(String),
}

impl Distrust {
    pub(crate) fn from_tls(error: &rustls::Error) -> Self {
        match error {
            // An authority that was made anew under its old name has another key.
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => Self::UnknownAuthority,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => match CertificateFault::of(other) {
                Some(CertificateFault::UnknownIssuer) => Self::UnknownAuthority,
                Some(CertificateFault::NameMismatch) => Self::NameMismatch,
                Some(CertificateFault::Expired) => Self::Expired,
                Some(CertificateFault::NotYetValid) => Self::NotYetValid,
                None => Self::Other(peer_text(&other.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_readable_certificate_is_refused() {
        assert_eq!(Roots::with_bundle(b"").unwrap_err(), BundleError::Empty);
        assert_eq!(Roots::with_bundle(b"no pem at all\n").unwrap_err(), BundleError::Empty);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Roots::with_bundle(broken).unwrap_err(), BundleError::Unreadable { position: 1 });
    }

    #[test]
    fn a_bundle_is_added_to_the_public_authorities() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mine = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let roots = Roots::with_bundle(format!("# ours\n{}{}", mine.pem(), mine.pem()).as_bytes()).unwrap();
        assert_eq!(roots.0.len(), Roots::public().0.len() + 2);
        let half = format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", mine.pem());
        assert_eq!(Roots::with_bundle(half.as_bytes()).unwrap_err(), BundleError::Unreadable { position: 2 });
    }
}
