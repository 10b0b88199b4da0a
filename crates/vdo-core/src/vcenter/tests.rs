use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use vdo_api::VsphereCloudConfigSpec;
use vdo_api::vcenter::{CaReference, Login, Trust as StoredTrust, Verified};
use vdo_plan::credentials;

use super::*;

/// A VsphereCloudConfig of this name, for the server `NAME.example.com`.
pub(crate) fn config(name: &str) -> VsphereCloudConfig {
    let mut config = VsphereCloudConfig::new(
        name,
        VsphereCloudConfigSpec {
            vc_ip: format!("{name}.example.com"),
            credentials: "creds".into(),
            ..VsphereCloudConfigSpec::default()
        },
    );
    config.metadata.namespace = Some("vdo".into());
    config.metadata.generation = Some(1);
    config
}

/// The same, verified in this version.
pub(crate) fn verified(mut config: VsphereCloudConfig, version: &str) -> VsphereCloudConfig {
    let server = config.spec.server();
    config.status.get_or_insert_default().verified = Some(Verified {
        generation: 1,
        server,
        port: 443,
        secret: secret().version,
        trust: StoredTrust { mode: TrustMode::Ca, sha256: "AA".into(), sha1: "BB".into(), ca_ref: None },
        version: version.into(),
        api_version: format!("{version}.0"),
        build: "1".into(),
        datacenters: vec!["/dc".into()],
    });
    config
}

/// A usable Secret.
pub(crate) fn secret() -> CredentialsSecret {
    secret_for(None)
}

fn secret_for(servers: Option<&str>) -> CredentialsSecret {
    let annotations =
        servers.map(|it| [(vdo_api::names::SERVER_ANNOTATION.to_owned(), it.to_owned())].into());
    let entry = |key: &str, value: &str| (key.to_owned(), ByteString(value.as_bytes().to_vec()));
    credentials::read(&Secret {
        metadata: ObjectMeta {
            name: Some("creds".into()),
            namespace: Some("vdo".into()),
            uid: Some("u".into()),
            resource_version: Some("1".into()),
            annotations,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/basic-auth".into()),
        data: Some([entry("username", "u@vsphere.local"), entry("password", "p")].into()),
        ..Secret::default()
    })
}

fn facts<'a>(
    config: &'a VsphereCloudConfig,
    secret: Reading<CredentialsSecret>,
    all: &'a [VsphereCloudConfig],
) -> Facts<'a> {
    Facts { config, secret, pinned: false, authority: None, all }
}

/// The errand of a usable VsphereCloudConfig.
pub(crate) fn errand(config: &VsphereCloudConfig) -> Errand {
    resolve(&facts(config, Reading::Present(secret()), &[])).unwrap()
}

fn refusal(facts: &Facts<'_>) -> &'static str {
    resolve(facts).unwrap().credentials.unwrap_err().reason.name
}

#[test]
fn each_fault_of_the_secret_is_told_apart() {
    let vc = config("a");
    let mut broken = secret();
    broken.content = Err(credentials::Fault::Missing("password"));
    for (secret, reason) in [
        (Reading::Absent, "SecretMissing"),
        (Reading::Unreadable("forbidden".into()), "SecretUnreadable"),
        (Reading::Present(broken), "SecretInvalid"),
        (Reading::Present(secret_for(Some("other.example.com"))), "SecretNotForServer"),
    ] {
        assert_eq!(refusal(&facts(&vc, secret, &[])), reason);
    }
    let named = Reading::Present(secret_for(Some("x, a.example.com")));
    assert!(resolve(&facts(&vc, named, &[])).unwrap().credentials.is_ok());
}

#[test]
fn a_secret_without_an_annotation_stays_with_its_first_server() {
    let (first, second) = (verified(config("a"), "8.0.3"), config("b"));
    let all = [first.clone(), second.clone()];
    assert_eq!(refusal(&facts(&second, Reading::Present(secret()), &all)), "SecretNotForServer");
    assert!(resolve(&facts(&first, Reading::Present(secret()), &all)).unwrap().credentials.is_ok());
    let mut moved = first.clone();
    moved.spec.vc_ip = "evil.example.com".into();
    let all = [moved.clone()];
    assert_eq!(refusal(&facts(&moved, Reading::Present(secret()), &all)), "SecretNotForServer");
}

#[test]
fn a_login_under_way_binds_the_secret_too() {
    let (mut first, second) = (config("a"), config("b"));
    for (outcome, bound) in
        [(LoginOutcome::Started, true), (LoginOutcome::Accepted, true), (LoginOutcome::Refused, false)]
    {
        first.status.get_or_insert_default().login = Some(Login {
            tried: secret().version,
            server: place(&first),
            outcome,
            at: Time(Timestamp::UNIX_EPOCH),
            retry: None,
            interrupted: 0,
        });
        let all = [first.clone(), second.clone()];
        let errand = resolve(&facts(&second, Reading::Present(secret()), &all)).unwrap();
        assert_eq!(errand.credentials.is_err(), bound, "{outcome:?}");
    }
}

#[test]
fn the_younger_of_two_for_one_server_is_refused() {
    let at = |second| Some(Time(Timestamp::from_second(second).unwrap()));
    let (mut elder, mut younger) = (config("z"), config("a"));
    elder.metadata.creation_timestamp = at(1);
    younger.metadata.creation_timestamp = at(2);
    younger.spec.vc_ip = "Z.example.com.".into();
    younger.spec.credentials = "others".into();
    let all = [younger.clone(), elder.clone()];
    assert_eq!(refusal(&facts(&younger, Reading::Present(secret()), &all)), "DuplicateServer");
    assert!(resolve(&facts(&elder, Reading::Present(secret()), &all)).unwrap().credentials.is_ok());
    younger.spec.credentials = elder.spec.credentials.clone();
    let all = [younger.clone(), elder.clone()];
    assert!(resolve(&facts(&younger, Reading::Present(secret()), &all)).unwrap().credentials.is_ok());
}

#[test]
fn trust_is_never_less_than_what_the_spec_says() {
    let mode = |spec: fn(&mut VsphereCloudConfig)| {
        let mut vc = config("a");
        spec(&mut vc);
        resolve(&facts(&vc, Reading::Present(secret()), &[])).map(|errand| errand.trust_mode)
    };
    assert_eq!(mode(|_| {}), Ok(TrustMode::Ca));
    assert_eq!(mode(|vc| vc.spec.thumbprint = Some("  ".into())), Ok(TrustMode::Ca));
    assert_eq!(mode(|vc| vc.spec.thumbprint = Some("ab".repeat(32))), Ok(TrustMode::Thumbprint));
    assert_eq!(mode(|vc| vc.spec.insecure = true), Ok(TrustMode::Insecure));
    let invalid = mode(|vc| vc.spec.thumbprint = Some("abc".into())).unwrap_err();
    assert_eq!((invalid.aspect, invalid.reason.name), (Aspect::Trusted, "TrustSettingsInvalid"));
}

#[test]
fn a_missing_authority_is_not_replaced_by_the_public_ones() {
    let mut vc = config("a");
    vc.spec.ca_ref = Some(CaReference { name: "ca".into(), key: "ca.crt".into() });
    for (authority, reason) in [
        (Reading::Absent, "CertificateAuthorityMissing"),
        (Reading::Unreadable("forbidden".into()), "CertificateAuthorityMissing"),
        (Reading::Present("no certificate".into()), "TrustSettingsInvalid"),
    ] {
        let facts = Facts { authority: Some(authority), ..facts(&vc, Reading::Present(secret()), &[]) };
        assert_eq!(resolve(&facts).unwrap_err().reason.name, reason);
    }
}
