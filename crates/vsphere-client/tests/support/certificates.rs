//! Certificates of every kind that a vCenter may show.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion};

/// A leaf certificate with its key.
pub struct Leaf {
    pub der: CertificateDer<'static>,
    pub pem: String,
    key: Vec<u8>,
}

/// An authority that issues leaves.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// A leaf for these names, valid from one year to another.
    pub fn issue(&self, names: &[&str], years: (i32, i32)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let params = params(names, years);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_der() }
    }
}

/// Valid now and for as long as these tests will be.
pub const VALID: (i32, i32) = (2020, 4000);

fn params(names: &[&str], years: (i32, i32)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a vCenter");
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

/// A leaf that signed itself, as an authority or not.
pub fn self_signed(names: &[&str], years: (i32, i32), is_ca: bool) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names, years);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    Leaf { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_der() }
}

impl Leaf {
    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// A server of either version of TLS.
    pub fn server(&self) -> ServerConfig {
        self.server_of(rustls::ALL_VERSIONS)
    }

    pub fn server_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], self.private_key())
            .unwrap()
    }

    /// A server that shows another certificate to each connection, and to all later ones the last.
    pub fn in_turn(leaves: &[&Leaf]) -> ServerConfig {
        let certified = leaves.iter().rev().map(|leaf| {
            let key = rustls::crypto::ring::sign::any_supported_type(&leaf.private_key()).unwrap();
            Arc::new(CertifiedKey::new(vec![leaf.der.clone()], key))
        });
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(InTurn(Mutex::new(certified.collect()))))
    }

    /// A server that shows this certificate and holds another key.
    pub fn impostor(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let other = self_signed(&["other"], VALID, false);
        let key = rustls::crypto::ring::sign::any_supported_type(&other.private_key()).unwrap();
        let shown = Arc::new(CertifiedKey::new(vec![self.der.clone()], Arc::new(Foreign(key))));
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)))
    }
}

#[derive(Debug)]
struct InTurn(Mutex<Vec<Arc<CertifiedKey>>>);

impl ResolvesServerCert for InTurn {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut left = self.0.lock().unwrap();
        if left.len() > 1 { left.pop() } else { left.last().cloned() }
    }
}

/// A key that does not say that it fits no certificate.
#[derive(Debug)]
struct Foreign(Arc<dyn SigningKey>);

impl SigningKey for Foreign {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}
