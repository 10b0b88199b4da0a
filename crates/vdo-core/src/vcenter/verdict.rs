//! From what was seen of a vCenter to the status of its VsphereCloudConfig. Pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vdo_api::condition::{clip, merge, name_some};
use vdo_api::vcenter::{ConfigState, EsxiHosts, Login, LoginOutcome, Presented, Trust, TrustMode, Verified};
use vdo_api::{Condition, Reason, Truth, VsphereCloudConfig, VsphereCloudConfigStatus};
use vdo_compat::VsphereVersion;
use vsphere_client::{About, Distrust, Error, Hosts, Phase, Product};

use super::check::Unread;
use super::due::{Permission, permission};
use super::{Aspect, Errand, Known, Obstacle};
use crate::reasons;

/// How many versions of hosts status keeps from either end. Bounds are ranges, so the ends decide.
const HOST_VERSIONS: usize = 16;

/// What a successful read proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What the vCenter says of itself.
    pub about: About,
    /// Paths of the datacenters.
    pub datacenters: Vec<String>,
    /// What their hosts run, if that was asked.
    pub hosts: Option<Hosts>,
}

/// What this process has seen of a vCenter, as far as it is about the present subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether it was reached and is trusted.
    pub reached: Option<Result<(), Obstacle>>,
    /// The certificate that it showed last.
    pub presented: Option<Presented>,
    /// Whether it let us in.
    pub login: Option<Result<(), Obstacle>>,
    /// Whether it has what the spec names.
    pub read: Option<Result<Proof, Obstacle>>,
}

/// Everything that a verdict is made of.
pub struct Case<'a> {
    /// The object.
    pub config: &'a VsphereCloudConfig,
    /// Whom to ask, or what stands in the way before anybody is asked.
    pub errand: &'a Result<Errand, Obstacle>,
    /// What was seen.
    pub evidence: &'a Evidence,
    /// The login to show: the stored one, or the one that this very write announces or ends.
    pub login: Option<Login>,
    /// The time.
    pub now: Timestamp,
}

/// The whole status. `None` while there is nothing new to say: a check of what was said before is under way.
pub fn status(case: &Case<'_>) -> Option<VsphereCloudConfigStatus> {
    let generation = case.config.metadata.generation.unwrap_or_default();
    let stored = case.config.status.clone().unwrap_or_default();
    let obstacle = obstacle(case);
    let level = level(case);
    let said = stored.observed_generation == Some(generation) && !stored.conditions.is_empty();
    if obstacle.is_none() && level < Aspect::ALL.len() && said {
        let kept = VsphereCloudConfigStatus { login: case.login.clone(), ..stored.clone() };
        return (kept != stored).then_some(kept);
    }
    let conditions = conditions(case, obstacle.as_ref(), level, generation);
    let proven = verified(case, generation);
    // What was read last counts through an outage. A read that did not ask ends it: no row has a bound for hosts then.
    let esxi = if proven.is_some() { esxi(case) } else { stored.esxi };
    let verified = proven.or(stored.verified);
    let done = obstacle.is_none() && level == Aspect::ALL.len();
    Some(VsphereCloudConfigStatus {
        observed_generation: Some(generation),
        config: match (&obstacle, done) {
            (Some(_), _) => Some(ConfigState::Failed),
            (None, true) => Some(ConfigState::Verified),
            (None, false) => None,
        },
        message: obstacle.map(|it| clip(&it.message, 2048)).unwrap_or_default(),
        conditions: merge(&stored.conditions, conditions),
        verified,
        login: case.login.clone(),
        presented: case.evidence.presented.clone().or(stored.presented),
        esxi,
    })
}

/// The first thing that stands in the way.
fn obstacle(case: &Case<'_>) -> Option<Obstacle> {
    let errand = match case.errand {
        Ok(errand) => errand,
        Err(obstacle) => return Some(obstacle.clone()),
    };
    let of = |result: &Option<Result<(), Obstacle>>| result.clone().and_then(Result::err);
    let evidence = case.evidence;
    of(&evidence.reached)
        .or_else(|| errand.credentials.as_ref().err().cloned())
        .or_else(|| of(&evidence.login))
        .or_else(|| remembered(case, errand))
        .or_else(|| evidence.read.clone().and_then(Result::err))
}

/// A login that status says was refused, or whose end nobody saw: also what another process did.
fn remembered(case: &Case<'_>, errand: &Errand) -> Option<Obstacle> {
    let login = case.login.as_ref().filter(|_| case.evidence.login.is_none())?;
    let secret = errand.subject.secret.as_ref()?;
    let retry = retry(case.config);
    let Permission::At(again) = permission(Some(login), secret, &errand.server, retry, case.now) else {
        return None;
    };
    match login.outcome {
        LoginOutcome::Refused => Some(refused(case.config, errand)),
        LoginOutcome::Started if login.at.0 < case.now => Some(Obstacle::unclear(
            Aspect::CredentialsValid,
            &reasons::LOGIN_UNDER_WAY,
            format!(
                "a login at {} was begun and its end was not seen; it is tried again at {again}, or {}",
                errand.server,
                ask_again(case.config)
            ),
        )),
        LoginOutcome::Started | LoginOutcome::Accepted => None,
    }
}

/// The annotation that asks for another login.
pub fn retry(config: &VsphereCloudConfig) -> Option<&str> {
    let annotations = config.metadata.annotations.as_ref()?;
    annotations.get(vdo_api::names::RETRY_LOGIN_ANNOTATION).map(String::as_str).filter(|it| it.len() <= 256)
}

/// How many aspects are proven, in their order.
fn level(case: &Case<'_>) -> usize {
    let evidence = case.evidence;
    match (&evidence.reached, &evidence.login, &evidence.read) {
        (Some(Ok(())), Some(Ok(())), Some(Ok(_))) => 4,
        (Some(Ok(())), Some(Ok(())), _) => 3,
        (Some(Ok(())), _, _) => 2,
        (Some(Err(obstacle)), _, _) => usize::from(obstacle.aspect > Aspect::Reachable),
        (None, _, _) => 0,
    }
}

fn conditions(case: &Case<'_>, obstacle: Option<&Obstacle>, level: usize, generation: i64) -> Vec<Condition> {
    let now = || Time(case.now);
    let new = |type_: &str, truth: Truth, reason: &Reason, message: &str| {
        Condition::new(type_, truth, reason, message, generation, now())
    };
    let mut all: Vec<Condition> = Aspect::ALL
        .into_iter()
        .enumerate()
        .map(|(position, aspect)| match obstacle {
            Some(it) if it.aspect == aspect => new(aspect.condition(), truth(it), it.reason, &it.message),
            Some(it) if it.aspect < aspect => {
                let message = format!("waits for {}", it.aspect.condition());
                new(aspect.condition(), Truth::Unknown, &reasons::NOT_CHECKED_YET, &message)
            }
            Some(_) | None if position < level => {
                let (reason, message) = proven(case, aspect);
                new(aspect.condition(), Truth::True, reason, &message)
            }
            // After a start, what was said of this generation stays until something was seen.
            Some(_) | None => said_before(case, aspect, generation).unwrap_or_else(|| {
                new(aspect.condition(), Truth::Unknown, &reasons::NOT_CHECKED_YET, "is being checked")
            }),
        })
        .collect();
    all.push(match obstacle {
        Some(it) => new("Ready", truth(it), it.reason, &it.message),
        None if level == Aspect::ALL.len() => {
            new("Ready", Truth::True, &reasons::VCENTER_VERIFIED, &summary(case))
        }
        None => new("Ready", Truth::Unknown, &reasons::NOT_CHECKED_YET, "is being checked"),
    });
    all
}

fn said_before(case: &Case<'_>, aspect: Aspect, generation: i64) -> Option<Condition> {
    let stored = case.config.status.as_ref().filter(|_| case.evidence.reached.is_none())?;
    let said = vdo_api::condition::find(&stored.conditions, aspect.condition())?;
    (said.observed_generation == generation).then(|| said.clone())
}

fn truth(obstacle: &Obstacle) -> Truth {
    match obstacle.known {
        Known::Wrong => Truth::False,
        Known::Unclear => Truth::Unknown,
    }
}

fn summary(case: &Case<'_>) -> String {
    match &case.evidence.read {
        Some(Ok(proof)) => {
            let hosts = proof.hosts.as_ref().map(of_hosts).unwrap_or_default();
            format!("vCenter {} build {}{hosts}", proof.about.version, proof.about.build)
        }
        Some(Err(_)) | None => String::new(),
    }
}

/// What hosts run, and why that may not be all.
fn of_hosts(hosts: &Hosts) -> String {
    let versions: Vec<String> = host_versions(hosts).iter().map(ToString::to_string).collect();
    let known = if versions.is_empty() { String::new() } else { format!("; ESXi {}", name_some(&versions)) };
    let hidden = match (hosts.seen, hosts.unreadable) {
        (0, _) if hosts.first_unreadable.is_some() => {
            "; the account may not look for ESXi hosts, so none refuses a release".to_owned()
        }
        (0, _) => {
            "; the account sees no ESXi host, so none refuses a release; if there are any, give it System.View and \
             System.Read on them"
                .to_owned()
        }
        (_, 0) => String::new(),
        (_, 1) => "; 1 ESXi host tells no version and refuses no release".to_owned(),
        (_, count) => format!("; {count} ESXi hosts tell no version and refuse no release"),
    };
    let next = match &hosts.first_unreadable {
        Some(denied) => format!("; give the account {} on {}", denied.privilege, denied.object),
        None => String::new(),
    };
    format!("{known}{hidden}{next}")
}

/// Each version once, in order. What is no version says nothing.
fn host_versions(hosts: &Hosts) -> BTreeSet<VsphereVersion> {
    let version = |it: &Product| VsphereVersion::reported(&it.version, &it.api_version).ok();
    hosts.products.iter().filter_map(version).collect()
}

/// What status says of the hosts, if they were asked for.
fn esxi(case: &Case<'_>) -> Option<EsxiHosts> {
    let (Ok(errand), Some(Ok(proof))) = (case.errand, &case.evidence.read) else { return None };
    let all: Vec<String> = host_versions(proof.hosts.as_ref()?).iter().map(ToString::to_string).collect();
    let newest = all.len().saturating_sub(HOST_VERSIONS);
    let kept = all.iter().enumerate().filter(|(at, _)| *at < HOST_VERSIONS || *at >= newest);
    Some(EsxiHosts {
        server: errand.server.clone(),
        versions: kept.map(|(_, version)| version.clone()).collect(),
    })
}

fn proven(case: &Case<'_>, aspect: Aspect) -> (&'static Reason, String) {
    let Ok(errand) = case.errand else { return (&reasons::REACHED, String::new()) };
    match aspect {
        Aspect::Reachable => (&reasons::REACHED, format!("{} answers", errand.endpoint)),
        Aspect::Trusted => match errand.trust_mode {
            TrustMode::Insecure => (
                &reasons::INSECURE_BY_REQUEST,
                "WARNING: the certificate is not verified, because spec.insecure is true; anybody between here and the vCenter can read the password. Set spec.thumbprint or spec.caRef instead".to_owned(),
            ),
            TrustMode::Ca => (&reasons::CERTIFICATE_TRUSTED, "signed by a trusted authority".to_owned()),
            TrustMode::Thumbprint => {
                (&reasons::CERTIFICATE_TRUSTED, "the fingerprint is the one in spec.thumbprint".to_owned())
            }
        },
        Aspect::CredentialsValid => {
            let secret = errand.credentials.as_ref().map(|it| format!("{}/{}", it.version.namespace, it.version.name));
            (&reasons::LOGGED_IN, format!("logged in with Secret {}", secret.unwrap_or_default()))
        }
        Aspect::DatacentersFound => {
            let found = match &case.evidence.read {
                Some(Ok(proof)) => name_some(&proof.datacenters),
                Some(Err(_)) | None => String::new(),
            };
            (&reasons::DATACENTERS_FOUND, clip(&found, 1500))
        }
    }
}

/// What the driver operators rely on; only a whole check gives it.
fn verified(case: &Case<'_>, generation: i64) -> Option<Verified> {
    let errand = case.errand.as_ref().ok()?;
    let evidence = case.evidence;
    let (Some(Ok(())), Some(Ok(())), Some(Ok(proof))) = (&evidence.reached, &evidence.login, &evidence.read)
    else {
        return None;
    };
    let secret = errand.credentials.as_ref().ok()?.version.clone();
    let presented = evidence.presented.as_ref()?;
    Some(Verified {
        generation,
        server: case.config.spec.server(),
        port: i32::from(case.config.spec.effective_port()),
        secret,
        trust: Trust {
            mode: errand.trust_mode,
            sha256: presented.sha256.clone(),
            sha1: presented.sha1.clone(),
            ca_ref: case.config.spec.ca_ref.clone().filter(|_| errand.trust_mode == TrustMode::Ca),
        },
        version: clip(&proof.about.version, 64),
        api_version: clip(&proof.about.api_version, 64),
        build: clip(&proof.about.build, 64),
        datacenters: proof.datacenters.iter().take(256).cloned().collect(),
    })
}

/// The certificate as status shows it.
pub fn presented(seen: &vsphere_client::Presented) -> Presented {
    Presented {
        sha256: seen.sha256.to_string(),
        sha1: seen.sha1.to_string(),
        subject: clip(&seen.subject, 512),
        issuer: clip(&seen.issuer, 512),
        not_after: seen.not_after.and_then(|second| Timestamp::from_second(second).ok()).map(Time),
    }
}

/// The certificate that came with a refusal to trust it.
pub fn shown(error: &Error) -> Option<Presented> {
    match error {
        Error::Untrusted { presented: seen, .. } => Some(presented(seen)),
        _ => None,
    }
}

/// What a read that failed says.
pub fn unread(config: &VsphereCloudConfig, errand: &Errand, why: &Unread) -> Obstacle {
    let aspect = Aspect::DatacentersFound;
    match why {
        Unread::Vcenter(error) => failure(config, errand, error),
        Unread::Missing { wanted, found } => {
            let found = if found.is_empty() { "none".to_owned() } else { clip(&name_some(found), 1000) };
            Obstacle::wrong(
                aspect,
                &reasons::DATACENTER_MISSING,
                format!(
                    "{} has no datacenter {wanted}; it has {found}. Correct spec.datacenters",
                    errand.server
                ),
            )
        }
        Unread::Ambiguous { wanted, paths } => Obstacle::wrong(
            aspect,
            &reasons::DATACENTER_AMBIGUOUS,
            format!(
                "{} has several datacenters {wanted}; write the path of one of {}",
                errand.server,
                clip(&name_some(paths), 1000)
            ),
        ),
        Unread::Hidden { wanted, denied } => Obstacle::wrong(
            aspect,
            &reasons::PRIVILEGE_MISSING,
            format!(
                "datacenter {wanted} was not found, and the account may not read {}; give it {}",
                denied.object, denied.privilege
            ),
        ),
    }
}

/// What an error of the client says: one row for each.
pub fn failure(config: &VsphereCloudConfig, errand: &Errand, error: &Error) -> Obstacle {
    use Aspect::{CredentialsValid, DatacentersFound, Reachable, Trusted};
    let wrong = |aspect, reason, next: &str| Obstacle::wrong(aspect, reason, format!("{error}; {next}"));
    let unclear = |aspect, reason, next: &str| Obstacle::unclear(aspect, reason, format!("{error}; {next}"));
    let network = "look for firewalls between the nodes and the vCenter";
    match error {
        Error::NameNotResolved { .. } => {
            wrong(Reachable, &reasons::DNS_FAILURE, "correct spec.vcIp or the DNS servers of the nodes")
        }
        Error::AddressNotAdmitted { address, .. } => Obstacle::wrong(
            Reachable,
            &reasons::ADDRESS_NOT_ALLOWED,
            format!(
                "{} resolves to {address}, a loopback, link-local or unspecified address; correct spec.vcIp or the name service",
                errand.endpoint.host()
            ),
        ),
        Error::Refused { .. } => wrong(
            Reachable,
            &reasons::CONNECTION_REFUSED,
            "correct spec.vcIp and spec.port, or start the vCenter",
        ),
        Error::Unreachable { .. } | Error::Timeout { .. } => {
            wrong(Reachable, &reasons::VCENTER_TIMEOUT, network)
        }
        Error::NotTls { .. } => wrong(Trusted, &reasons::TLS_FAILED, "correct spec.port"),
        Error::TlsFailed { .. } => {
            wrong(Trusted, &reasons::TLS_FAILED, "correct spec.port, or the vCenter's TLS settings")
        }
        Error::Untrusted { presented, why, .. } => untrusted(config, presented, why),
        Error::InvalidLogin => refused(config, errand),
        Error::NoPermission { .. } => {
            wrong(DatacentersFound, &reasons::PRIVILEGE_MISSING, "give the account this privilege")
        }
        Error::NotAuthenticated => {
            unclear(CredentialsValid, &reasons::LOGIN_UNDER_WAY, "the session ended; VDO logs in again")
        }
        Error::TooOld { .. } => wrong(Reachable, &reasons::VCENTER_TOO_OLD, "upgrade it"),
        Error::NotVCenter { .. } => {
            wrong(Reachable, &reasons::NOT_A_VCENTER, "correct spec.vcIp and spec.port")
        }
        Error::Throttled { .. } | Error::Fault { .. } => {
            wrong(Reachable, &reasons::VCENTER_BUSY, "wait, or look at the vCenter's health page")
        }
        Error::TooLarge { .. } | Error::TooManyPages { .. } | Error::Malformed { .. } => {
            wrong(Reachable, &reasons::NOT_A_VCENTER, "see whether a proxy stands in between")
        }
        Error::Unwritable { .. } => wrong(CredentialsValid, &reasons::SECRET_INVALID, "correct the Secret"),
        Error::Setup { .. } => unclear(Trusted, &reasons::TLS_FAILED, "this is a bug of VDO, report it"),
    }
}

fn untrusted(config: &VsphereCloudConfig, presented: &vsphere_client::Presented, why: &Distrust) -> Obstacle {
    let sha256 = &presented.sha256;
    let meta = &config.metadata;
    let accept = format!(
        "kubectl patch vspherecloudconfig -n {} {} --type=merge -p '{{\"spec\":{{\"thumbprint\":\"{sha256}\"}}}}'",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    let reason = match why {
        Distrust::ThumbprintMismatch { .. } => &reasons::THUMBPRINT_MISMATCH,
        Distrust::UnknownIssuer
        | Distrust::NameMismatch
        | Distrust::Expired
        | Distrust::NotYetValid
        | Distrust::Unacceptable(_) => &reasons::CERTIFICATE_UNTRUSTED,
    };
    Obstacle::wrong(
        Aspect::Trusted,
        reason,
        format!(
            "the certificate of {} is not trusted: {why}. It shows SHA-256 {sha256}. If that is the vCenter's own, accept it with: {accept}",
            config.spec.vc_ip
        ),
    )
}

fn refused(config: &VsphereCloudConfig, errand: &Errand) -> Obstacle {
    let secret = errand.subject.secret.as_ref();
    let secret = secret.map(|it| format!("{}/{}", it.namespace, it.name)).unwrap_or_default();
    Obstacle::wrong(
        Aspect::CredentialsValid,
        &reasons::LOGIN_REFUSED,
        format!(
            "{} refused the login with Secret {secret}: user name or password is wrong, expired or locked. Correct the Secret, which is tried at once, or {}",
            errand.server,
            ask_again(config)
        ),
    )
}

fn ask_again(config: &VsphereCloudConfig) -> String {
    let meta = &config.metadata;
    format!(
        "ask for another try: kubectl annotate --overwrite vspherecloudconfig -n {} {} {}=\"$(date)\"",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
        vdo_api::names::RETRY_LOGIN_ANNOTATION
    )
}

/// Whether a login that failed so was surely not judged by the vCenter, and may be made again.
pub fn was_not_judged(error: &Error) -> bool {
    match error {
        Error::NameNotResolved { .. }
        | Error::AddressNotAdmitted { .. }
        | Error::Refused { .. }
        | Error::NotTls { .. }
        | Error::TlsFailed { .. }
        | Error::Untrusted { .. }
        | Error::Throttled { .. }
        | Error::Unwritable { .. }
        | Error::Setup { .. }
        | Error::Timeout { phase: Phase::Connect, .. } => true,
        Error::Unreachable { .. }
        | Error::Timeout { phase: Phase::Call(_), .. }
        | Error::InvalidLogin
        | Error::NoPermission { .. }
        | Error::NotAuthenticated
        | Error::TooOld { .. }
        | Error::NotVCenter { .. }
        | Error::TooLarge { .. }
        | Error::TooManyPages { .. }
        | Error::Fault { .. }
        | Error::Malformed { .. } => false,
    }
}

#[cfg(test)]
mod tests;
