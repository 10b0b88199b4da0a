//! A vCenter that a driver may be configured with: verified by vdo-core, with the very Secret that logged in.

use vdo_api::VsphereCloudConfig;
use vdo_api::vcenter::{SecretVersion, TrustMode};

use crate::credentials::{Credentials, CredentialsSecret};
use crate::finding::ROLES;
use crate::{Finding, Reading};

/// Reasons that both drivers share when a vCenter cannot be used.
pub mod reasons {
    vdo_api::reasons! {
        VCENTER_CONFIG_MISSING = "VsphereCloudConfigMissing" {
            "The VDOConfig names a VsphereCloudConfig that does not exist in the operators' namespace.",
            "What is installed keeps running with its old configuration.",
            "Create the VsphereCloudConfig, or correct the name in the VDOConfig.",
        }
        VCENTER_NOT_VERIFIED = "VCenterNotVerified" {
            "vdo-core has not verified the VsphereCloudConfig as it is now.",
            "What is installed keeps running with its old configuration.",
            "See the conditions of the VsphereCloudConfig; each says what to do.",
        }
        CREDENTIALS_NOT_VERIFIED = "CredentialsNotVerified" {
            "The Secret has changed since vdo-core logged in with it.",
            "No driver sees the new content before a login with it has succeeded.",
            "Wait a minute; if it stays, see the condition CredentialsValid of the VsphereCloudConfig.",
        }
        CA_MISSING = "CertificateAuthorityMissing" {
            "The ConfigMap with the certificate authority is missing, or lacks the key.",
            "What is installed keeps running with its old configuration.",
            "Create the ConfigMap that spec.caRef of the VsphereCloudConfig names.",
        }
    }
}

/// What is known about one VsphereCloudConfig and what it refers to.
#[derive(Clone, Debug)]
pub struct VcenterFacts {
    /// The name of the VsphereCloudConfig.
    pub name: String,
    /// The object.
    pub config: Reading<VsphereCloudConfig>,
    /// The Secret that `status.verified` names.
    pub secret: Reading<CredentialsSecret>,
    /// The certificates that `spec.caRef` names.
    pub ca: Reading<String>,
}

/// How a driver verifies the vCenter's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By the authorities in the driver's image.
    PublicCa,
    /// By these certificates (PEM).
    Ca(String),
    /// By the SHA-1 fingerprint of the certificate that vdo-core accepted: upper case, with colons.
    Thumbprint(String),
    /// Not at all, as the user asked.
    Insecure,
}

/// Checked values of one vCenter.
#[derive(Clone, Debug, PartialEq)]
pub struct Vcenter {
    /// The name of its VsphereCloudConfig.
    pub name: String,
    /// The server, in its normal form.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How its certificate is verified.
    pub trust: Trust,
    /// Inventory paths of its datacenters.
    pub datacenters: Vec<String>,
    /// The credentials that logged in.
    pub credentials: Credentials,
}

/// The Secret version that a driver may use, if the vCenter was verified.
pub fn verified_secret(config: &VsphereCloudConfig) -> Option<&SecretVersion> {
    config.status.as_ref()?.verified.as_ref().map(|verified| &verified.secret)
}

/// Checked values, or what stands in the way.
pub fn resolve(facts: &VcenterFacts) -> Result<Vcenter, Finding> {
    let name = &facts.name;
    let config = match &facts.config {
        Reading::Present(config) => config,
        Reading::Absent => {
            return Err(Finding::hold(
                &reasons::VCENTER_CONFIG_MISSING,
                format!("VsphereCloudConfig {name} does not exist; create it or correct the name"),
            ));
        }
        Reading::Unreadable(why) => {
            let what = format!("cannot be read: {why}; correct the field that this names, if it names one");
            return Err(not_verified(name, &what));
        }
    };
    let verified = config.status.as_ref().and_then(|status| status.verified.as_ref());
    let Some(verified) = verified else {
        return Err(not_verified(name, "is not verified yet; see its conditions"));
    };
    if config.metadata.generation != Some(verified.generation) {
        return Err(not_verified(name, "was changed and is not verified yet; see its conditions"));
    }
    let secret = &verified.secret;
    let credentials = match &facts.secret {
        Reading::Present(read) if read.version == *secret => read.content.clone().map_err(|fault| {
            let SecretVersion { namespace, name: of, .. } = secret;
            not_verified(name, &format!("names Secret {namespace}/{of}, which {fault}; correct the Secret"))
        })?,
        Reading::Present(_) | Reading::Absent => {
            return Err(Finding::hold(
                &reasons::CREDENTIALS_NOT_VERIFIED,
                format!(
                    "Secret {}/{} has changed since vdo-core logged in to {} with it; see VsphereCloudConfig {name}",
                    secret.namespace, secret.name, verified.server
                ),
            ));
        }
        Reading::Unreadable(why) => {
            return Err(not_verified(
                name,
                &format!(
                    "names Secret {}/{}, which cannot be read: {why}; {ROLES}",
                    secret.namespace, secret.name
                ),
            ));
        }
    };
    let trust = match (verified.trust.mode, &verified.trust.ca_ref) {
        (TrustMode::Insecure, _) => Trust::Insecure,
        (TrustMode::Thumbprint, _) => Trust::Thumbprint(verified.trust.sha1.to_ascii_uppercase()),
        (TrustMode::Ca, None) => Trust::PublicCa,
        (TrustMode::Ca, Some(reference)) => match &facts.ca {
            Reading::Present(pem) => Trust::Ca(pem.clone()),
            Reading::Absent | Reading::Unreadable(_) => {
                return Err(Finding::hold(
                    &reasons::CA_MISSING,
                    format!(
                        "ConfigMap {} with key {} of VsphereCloudConfig {name} is not there; create it",
                        reference.name, reference.key
                    ),
                ));
            }
        },
    };
    Ok(Vcenter {
        name: name.clone(),
        server: verified.server.clone(),
        port: u16::try_from(verified.port).unwrap_or(443),
        trust,
        datacenters: verified.datacenters.clone(),
        credentials,
    })
}

fn not_verified(name: &str, what: &str) -> Finding {
    Finding::hold(&reasons::VCENTER_NOT_VERIFIED, format!("VsphereCloudConfig {name} {what}"))
}
