//! Verifying vCenters: what a VsphereCloudConfig asks for, what is due next, and what came of it.
//!
//! [`resolve`] turns one VsphereCloudConfig and what it refers to into an [`Errand`]: whom to ask and with what, or
//! what stands in the way before anybody is asked.

pub mod check;
pub mod due;
pub mod memory;
pub mod verdict;

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::Timestamp;
use vdo_api::vcenter::{LoginOutcome, SecretVersion, TrustMode};
use vdo_api::{Reason, VsphereCloudConfig};
use vdo_plan::Reading;
use vdo_plan::credentials::{Credentials, CredentialsSecret};
use vdo_plan::vcenter::reasons::CA_MISSING;
use vsphere_client::{CaBundle, Endpoint, Thumbprint, Trust};

use crate::reasons;

/// Which of the four conditions something belongs to, in the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Is a vCenter there?
    Reachable,
    /// Is it the one that is meant?
    Trusted,
    /// Does it accept us?
    CredentialsValid,
    /// Does it have what the spec names?
    DatacentersFound,
}

impl Aspect {
    /// All of them, in order.
    pub const ALL: [Aspect; 4] =
        [Aspect::Reachable, Aspect::Trusted, Aspect::CredentialsValid, Aspect::DatacentersFound];

    /// The type of its condition.
    pub fn condition(self) -> &'static str {
        match self {
            Aspect::Reachable => "Reachable",
            Aspect::Trusted => "Trusted",
            Aspect::CredentialsValid => "CredentialsValid",
            Aspect::DatacentersFound => "DatacentersFound",
        }
    }
}

/// What stands in the way of one aspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Of which.
    pub aspect: Aspect,
    /// Whether that is known to be wrong, or only not known.
    pub known: Known,
    /// The word for it.
    pub reason: &'static Reason,
    /// The object, the cause and the next step.
    pub message: String,
}

/// Whether something is known to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is wrong.
    Wrong,
    /// Nobody could tell.
    Unclear,
}

impl Obstacle {
    /// Something that is wrong.
    pub fn wrong(aspect: Aspect, reason: &'static Reason, message: impl Into<String>) -> Self {
        Obstacle { aspect, known: Known::Wrong, reason, message: message.into() }
    }

    /// Something that nobody could tell.
    pub fn unclear(aspect: Aspect, reason: &'static Reason, message: impl Into<String>) -> Self {
        Obstacle { aspect, known: Known::Unclear, reason, message: message.into() }
    }
}

/// Where and how one connects: another of these is another session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Host and port.
    pub endpoint: String,
    /// A digest of the rule by which the certificate is verified.
    pub trust: u64,
}

/// What a check is about. A check of another subject says nothing about this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where and how.
    pub access: Access,
    /// The generation of the spec.
    pub generation: i64,
    /// The Secret version to log in with, if there is a usable one.
    pub secret: Option<SecretVersion>,
}

/// Whom to ask, and with what.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What the check is about.
    pub subject: Subject,
    /// Host and port.
    pub endpoint: Endpoint,
    /// Whom to believe.
    pub trust: Trust,
    /// What the trust is called in status.
    pub trust_mode: TrustMode,
    /// The server as status and Secrets name it.
    pub server: String,
    /// The credentials, or why there are none.
    pub credentials: Result<Credentials, Obstacle>,
}

/// One VsphereCloudConfig and what it refers to.
pub struct Facts<'a> {
    /// The object.
    pub config: &'a VsphereCloudConfig,
    /// The Secret that `spec.credentials` means.
    pub secret: Reading<CredentialsSecret>,
    /// Whether a Secret of this name in `kube-system` may be read.
    pub pinned: bool,
    /// The certificates of `spec.caRef`, if it is set.
    pub authority: Option<Reading<String>>,
    /// All VsphereCloudConfigs that decode, this one among them.
    pub all: &'a [VsphereCloudConfig],
}

/// The server with its port where that is not the usual one.
pub fn place(config: &VsphereCloudConfig) -> String {
    match config.spec.effective_port() {
        443 => config.spec.server(),
        port => vdo_api::condition::clip(&format!("{}:{port}", config.spec.server()), 253),
    }
}

/// Whom to ask, or what stands in the way before anybody is asked.
pub fn resolve(facts: &Facts<'_>) -> Result<Errand, Obstacle> {
    let spec = &facts.config.spec;
    let endpoint = Endpoint::new(&spec.vc_ip, spec.effective_port()).map_err(|error| {
        Obstacle::wrong(
            Aspect::Reachable,
            &reasons::ADDRESS_NOT_ALLOWED,
            format!("spec.vcIp {:?} is not usable: {error}", spec.vc_ip),
        )
    })?;
    let (trust, trust_mode, trust_key) = trust(facts)?;
    let mut hasher = DefaultHasher::new();
    trust_key.hash(&mut hasher);
    let credentials = credentials(facts);
    Ok(Errand {
        subject: Subject {
            access: Access { endpoint: endpoint.to_string(), trust: hasher.finish() },
            generation: facts.config.metadata.generation.unwrap_or_default(),
            secret: credentials.as_ref().ok().map(|it| it.version.clone()),
        },
        endpoint,
        trust,
        trust_mode,
        server: place(facts.config),
        credentials,
    })
}

fn trust(facts: &Facts<'_>) -> Result<(Trust, TrustMode, String), Obstacle> {
    let spec = &facts.config.spec;
    let invalid =
        |message: String| Obstacle::wrong(Aspect::Trusted, &reasons::TRUST_SETTINGS_INVALID, message);
    if spec.insecure {
        return Ok((Trust::Insecure, TrustMode::Insecure, "insecure".to_owned()));
    }
    // An empty thumbprint never means insecure: it means that none is given.
    if let Some(text) = spec.thumbprint.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        let thumbprint = Thumbprint::parse(text)
            .map_err(|error| invalid(format!("spec.thumbprint cannot be read: {error}; correct it")))?;
        return Ok((Trust::Thumbprint(thumbprint), TrustMode::Thumbprint, thumbprint.to_string()));
    }
    let (Some(reference), Some(authority)) = (&spec.ca_ref, &facts.authority) else {
        return Ok((Trust::PublicRoots, TrustMode::Ca, "public".to_owned()));
    };
    let (name, key) = (&reference.name, &reference.key);
    match authority {
        Reading::Present(pem) => {
            let bundle = CaBundle::from_pem(pem.as_bytes()).map_err(|error| {
                invalid(format!("key {key} of ConfigMap {name} cannot be used: {error}; correct it"))
            })?;
            Ok((Trust::CaBundle(bundle), TrustMode::Ca, pem.clone()))
        }
        Reading::Absent => Err(Obstacle::unclear(
            Aspect::Trusted,
            &CA_MISSING,
            format!("ConfigMap {name} with key {key}, which spec.caRef names, is not there; create it"),
        )),
        Reading::Unreadable(why) => Err(Obstacle::unclear(
            Aspect::Trusted,
            &CA_MISSING,
            format!("ConfigMap {name}, which spec.caRef names, cannot be read: {why}"),
        )),
    }
}

fn credentials(facts: &Facts<'_>) -> Result<Credentials, Obstacle> {
    let config = facts.config;
    let name = &config.spec.credentials;
    let aspect = Aspect::CredentialsValid;
    if let Some(other) = elder_with_another_secret(config, facts.all) {
        return Err(Obstacle::wrong(
            aspect,
            &reasons::DUPLICATE_SERVER,
            format!(
                "VsphereCloudConfig {other} names {} with another Secret; keep one of them",
                place(config)
            ),
        ));
    }
    let read = match &facts.secret {
        Reading::Present(read) => read,
        Reading::Absent => {
            let elsewhere = if facts.pinned {
                "and none of that name is in kube-system"
            } else {
                "and Secrets in kube-system are read only if the chart value global.credentials.kubeSystemSecrets names them"
            };
            return Err(Obstacle::wrong(
                aspect,
                &reasons::SECRET_MISSING,
                format!(
                    "no Secret {name} of type kubernetes.io/basic-auth or with the label {}=true is in this namespace, {elsewhere}; create it",
                    vdo_api::names::CREDENTIALS_LABEL
                ),
            ));
        }
        Reading::Unreadable(why) => {
            return Err(Obstacle::unclear(
                aspect,
                &reasons::SECRET_UNREADABLE,
                format!(
                    "Secret {name} cannot be read: {why}; give VDO the right by upgrading the chart again, with the Secret in its value global.credentials.kubeSystemSecrets if it is in kube-system"
                ),
            ));
        }
    };
    let (namespace, name) = (&read.version.namespace, &read.version.name);
    let credentials = read.content.clone().map_err(|fault| {
        Obstacle::wrong(
            aspect,
            &reasons::SECRET_INVALID,
            format!("Secret {namespace}/{name} {fault}; correct it"),
        )
    })?;
    let (server, place) = (config.spec.server(), place(config));
    let refused = |whose: String| {
        Obstacle::wrong(
            aspect,
            &reasons::SECRET_NOT_FOR_SERVER,
            format!(
                "Secret {namespace}/{name} is for {whose}, not for {place}; to allow it, run: kubectl annotate --overwrite secret -n {namespace} {name} {}={place}",
                vdo_api::names::SERVER_ANNOTATION
            ),
        )
    };
    if !credentials.servers.is_empty() {
        let named = credentials.servers.iter().any(|it| *it == server || *it == place);
        return if named {
            Ok(credentials)
        } else {
            Err(refused(vdo_api::condition::name_some(&credentials.servers)))
        };
    }
    match bound_to(&credentials.version, &place, facts.all) {
        Some(other) => Err(refused(other)),
        None => Ok(credentials),
    }
}

/// The server that a Secret without an annotation was sent to first, if that is another one.
fn bound_to(secret: &SecretVersion, place: &str, all: &[VsphereCloudConfig]) -> Option<String> {
    let servers = all.iter().filter_map(|config| config.status.as_ref()).flat_map(|status| {
        let verified =
            status.verified.iter().filter(|it| it.secret.uid == secret.uid).map(|it| match it.port {
                443 => it.server.clone(),
                port => format!("{}:{port}", it.server),
            });
        // A login that is under way binds too, or two at once could send it to two servers.
        let tried = status.login.iter().filter(|it| {
            it.tried.uid == secret.uid && matches!(it.outcome, LoginOutcome::Accepted | LoginOutcome::Started)
        });
        verified.chain(tried.map(|it| it.server.clone())).collect::<Vec<_>>()
    });
    let servers: Vec<String> = servers.collect();
    if servers.iter().any(|server| server == place) {
        return None;
    }
    servers.into_iter().next()
}

/// An older VsphereCloudConfig of the same server with another Secret.
fn elder_with_another_secret<'a>(
    config: &VsphereCloudConfig,
    all: &'a [VsphereCloudConfig],
) -> Option<&'a str> {
    let age = |it: &VsphereCloudConfig| -> (Option<Timestamp>, Option<String>) {
        (it.metadata.creation_timestamp.as_ref().map(|time| time.0), it.metadata.name.clone())
    };
    let elders = all.iter().filter(|it| {
        it.metadata.name != config.metadata.name
            && place(it) == place(config)
            && it.spec.credentials != config.spec.credentials
            && age(it) < age(config)
    });
    elders.min_by_key(|it| age(it)).and_then(|it| it.metadata.name.as_deref())
}

#[cfg(test)]
pub(crate) mod tests;
