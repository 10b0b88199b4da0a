//! The bed's certificates: one CA for the cluster, one for the vCenters, and everything that they sign.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::addresses;

/// A certificate authority of the bed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS 8).
    pub key: String,
}

/// The files of the bed's folder `pki/`.
pub struct Pki {
    folder: PathBuf,
    /// Signs what belongs to the cluster.
    pub cluster: Authority,
    /// Signs what the vCenters show.
    pub vcenters: Authority,
}

impl Authority {
    /// Makes a new authority.
    pub fn new(name: &str) -> Result<Authority> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), pem })
    }

    /// Signs a certificate for servers under `names` (DNS names and addresses) and clients called `name`.
    pub fn sign(&self, name: &str, group: Option<&str>, names: &[String]) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

impl Pki {
    /// Makes both authorities and writes what the control plane reads.
    pub fn write(folder: &Path) -> Result<Pki> {
        fs::create_dir_all(folder).context("failed to make the folder of the certificates")?;
        let pki = Pki {
            folder: folder.to_owned(),
            cluster: Authority::new("testbed-cluster-ca")?,
            vcenters: Authority::new("testbed-vcenter-ca")?,
        };
        pki.store("ca.crt", &pki.cluster.pem)?;
        pki.store("vcenter-ca.crt", &pki.vcenters.pem)?;
        let names = [
            addresses::API_SERVER.to_string(),
            // The first address of the Service network, and what a relay outside the bed is reached by.
            "10.96.0.1".to_owned(),
            Ipv4Addr::LOCALHOST.to_string(),
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ];
        pki.store_pair("apiserver", &pki.cluster.sign("kube-apiserver", None, &names)?)?;
        // What a fault proxy shows: it may stand on any address of the bed that a pod reaches, under the API server's name.
        let proxy = addresses::NETWORKS.iter().map(|network| network.gateway.to_string());
        let proxy: Vec<String> = names.iter().cloned().chain(proxy).collect();
        pki.store_pair("faultproxy", &pki.cluster.sign("faultproxy", None, &proxy)?)?;
        pki.store_pair("front-proxy", &pki.cluster.sign("front-proxy-client", None, &[])?)?;
        let accounts = KeyPair::generate()?;
        pki.store("sa.key", &accounts.serialize_pem())?;
        pki.store("sa.pub", &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// Writes certificate and key as `NAME.crt` and `NAME.key`.
    pub fn store_pair(&self, name: &str, pair: &Pair) -> Result<(PathBuf, PathBuf)> {
        let certificate = self.store(&format!("{name}.crt"), &pair.certificate)?;
        let key = self.store(&format!("{name}.key"), &pair.key)?;
        Ok((certificate, key))
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn store(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}
