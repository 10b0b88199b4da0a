//! Rows of `e2e/bad-input.toml` that the API server accepts, by their ids: what is wrong with a Secret before any login,
//! and a spec that cannot be followed.

#![allow(clippy::unwrap_used)]

mod world;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use secrecy::ExposeSecret;
use vdo_api::vcenter::{SecretVersion, Trust, TrustMode, Verified, VsphereCloudConfigStatus};
use vdo_api::{Truth, VsphereCloudConfig, VsphereCloudConfigSpec};
use vdo_plan::credentials::{self, Fault, LIMIT};
use vdo_plan::driver::Deed;
use vdo_plan::vcenter::{VcenterFacts, resolve};
use vdo_plan::{Reading, Verdict};
use world::{World, revision};

const USER: &[u8] = b"vdo@vsphere.local";

fn secret(kind: &str, entries: &[(&str, &[u8])]) -> Secret {
    let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
    Secret { type_: Some(kind.to_owned()), data: Some(data.collect()), ..Secret::default() }
}

/// What is wrong with a Secret for basic authentication that holds these.
fn fault(entries: &[(&str, &[u8])]) -> Fault {
    credentials::read(&secret("kubernetes.io/basic-auth", entries)).content.unwrap_err()
}

fn fault_of(user: &[u8], password: &[u8]) -> Fault {
    fault(&[("username", user), ("password", password)])
}

/// The password as a driver gets it.
fn password(password: &[u8]) -> String {
    let both = [("username", USER), ("password", password)];
    let read = credentials::read(&secret("kubernetes.io/basic-auth", &both));
    read.content.unwrap().password.expose_secret().to_owned()
}

#[test]
fn b38_only_the_key_that_is_missing_is_named() {
    let said = fault(&[("username", USER)]).to_string();
    assert!(said.contains("`password`") && !said.contains("`username`"), "{said}");
    let said = fault(&[("password", b"p")]).to_string();
    assert!(said.contains("`username`") && !said.contains("`password`"), "{said}");
}

#[test]
fn b39_an_empty_value_is_told() {
    assert_eq!(fault_of(b"", b"p"), Fault::Empty("username"));
    assert_eq!(fault_of(USER, b""), Fault::Empty("password"));
}

#[test]
fn b40_a_line_break_at_the_end_is_told_and_not_taken_away() {
    assert_eq!(fault_of(USER, b"p\n"), Fault::EndsWithNewline("password"));
    assert_eq!(fault_of(b"vdo@vsphere.local\n", b"p"), Fault::EndsWithNewline("username"));
    assert!(fault_of(USER, b"p\n").to_string().contains("printf"));
    assert_eq!(password(b" p "), " p ");
}

#[test]
fn b41_a_user_without_a_domain_is_told_with_both_ways_to_write_one() {
    let fault = fault_of(b"administrator", b"p");
    assert_eq!(fault, Fault::UserWithoutDomain);
    let said = fault.to_string();
    assert!(said.contains("user@domain") && said.contains("DOMAIN\\user"), "{said}");
}

#[test]
fn b42_what_a_password_may_hold_reaches_the_driver_and_the_rest_is_told() {
    let every: String = (' '..='~').chain(['ß', '漢', '😀']).collect();
    for good in [every.as_str(), " a ", "\"\\;#=[]%$'"] {
        assert_eq!(password(good.as_bytes()), good);
    }
    for bad in [&b"a\0b"[..], b"a\nb", b"a\tb", b"\x1b"] {
        assert_eq!(fault_of(USER, bad), Fault::ControlCharacter("password"), "{bad:?}");
    }
}

#[test]
fn b43_b44_what_is_no_text_or_too_long_is_told() {
    assert_eq!(fault_of(USER, b"\xff\xfe"), Fault::NotText("password"));
    assert_eq!(fault_of(USER, &vec![b'x'; 1024 * 1024]), Fault::TooLong("password"));
    assert_eq!(fault_of(USER, &vec![b'x'; LIMIT + 1]), Fault::TooLong("password"));
    assert_eq!(password(&vec![b'x'; LIMIT]).len(), 1024);
    assert!(fault_of(USER, &vec![b'x'; LIMIT + 1]).to_string().contains("1024 bytes"));
}

#[test]
fn b45_a_user_that_was_encoded_twice_has_no_domain_and_such_a_password_is_one_like_any_other() {
    for user in ["vdo@vsphere.local", "DOMAIN\\vdo", "a@b"] {
        assert_eq!(fault_of(STANDARD.encode(user).as_bytes(), b"p"), Fault::UserWithoutDomain, "{user}");
    }
    let twice = STANDARD.encode("hunter2");
    assert_eq!(password(twice.as_bytes()), twice);
}

#[test]
fn b46_an_immutable_secret_for_basic_authentication_is_read() {
    let mut frozen = secret("kubernetes.io/basic-auth", &[("username", USER), ("password", b"p")]);
    frozen.immutable = Some(true);
    assert!(credentials::read(&frozen).content.is_ok());
}

#[test]
fn b47_a_secret_for_something_else_is_told_by_its_type_whatever_it_holds() {
    for kind in
        ["kubernetes.io/service-account-token", "kubernetes.io/tls", "kubernetes.io/dockerconfigjson", "x/y"]
    {
        let other = secret(kind, &[("token", b"t"), ("username", USER), ("password", b"p")]);
        let fault = credentials::read(&other).content.unwrap_err();
        assert_eq!(fault, Fault::WrongType, "{kind}");
        assert!(fault.to_string().contains("kubernetes.io/basic-auth"));
    }
}

#[test]
fn b48_keys_with_a_server_in_front_are_not_looked_at() {
    let of_another = [("vc2.example.com.username", USER), ("vc2.example.com.password", &b"p"[..])];
    assert_eq!(fault(&of_another), Fault::Missing("username"));
}

/// A VsphereCloudConfig that was verified, with the Secret that logged in.
fn verified() -> VcenterFacts {
    let mut login = secret("kubernetes.io/basic-auth", &[("username", USER), ("password", b"p")]);
    login.metadata.name = Some("creds".to_owned());
    login.metadata.uid = Some("u".to_owned());
    login.metadata.resource_version = Some("1".to_owned());
    let version = SecretVersion {
        namespace: String::new(),
        name: "creds".to_owned(),
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
    };
    let mut config = VsphereCloudConfig::new("vc", VsphereCloudConfigSpec::default());
    config.metadata.generation = Some(1);
    let trust = Trust { mode: TrustMode::Ca, sha256: String::new(), sha1: String::new(), ca_ref: None };
    config.status = Some(VsphereCloudConfigStatus {
        verified: Some(Verified {
            generation: 1,
            server: "vc.example.com".to_owned(),
            port: 443,
            secret: version,
            trust,
            version: "8.0.3".to_owned(),
            api_version: "8.0.3.0".to_owned(),
            build: "1".to_owned(),
            datacenters: vec!["/dc".to_owned()],
        }),
        ..VsphereCloudConfigStatus::default()
    });
    VcenterFacts {
        name: "vc".to_owned(),
        config: Reading::Present(config),
        secret: Reading::Present(credentials::read(&login)),
        ca: Reading::Absent,
    }
}

fn takes_away(deeds: &[Deed]) -> bool {
    deeds.iter().any(|deed| matches!(deed, Deed::Prune(_) | Deed::ReleaseFinalizer))
}

#[test]
fn b51_b52_a_vsphere_cloud_config_counts_until_it_is_gone_and_then_holds() {
    let mut facts = verified();
    let kept = resolve(&facts).unwrap();
    let Reading::Present(config) = &mut facts.config else { unreachable!() };
    config.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(resolve(&facts).unwrap(), kept);

    facts.config = Reading::Absent;
    let finding = resolve(&facts).unwrap_err();
    assert_eq!((finding.verdict, finding.reason.name), (Verdict::Hold, "VsphereCloudConfigMissing"));
    assert!(finding.message.contains("VsphereCloudConfig vc"), "{}", finding.message);

    let mut world = World::new();
    world.settle();
    let before = world.names();
    world.findings = vec![finding];
    world.wanted = revision("1.36.0", "another", "p");
    for _ in 0..3 {
        let plan = world.pass();
        assert!(!takes_away(&plan.deeds), "{:?}", plan.deeds);
        assert_eq!((world.ready(), world.reason()), (Truth::True, "VsphereCloudConfigMissing"));
    }
    assert_eq!(world.names(), before);
}

#[test]
fn b85_a_spec_that_changes_during_a_pause_waits_for_its_end() {
    let mut world = World::new();
    world.settle();
    let installed = world.installed();
    world.annotate("vdo.vmware.com/paused-until", "2026-01-01T01:00:00Z");
    world.scene.config.metadata.generation = Some(2);
    world.open_gate("1.37.0");
    world.wanted = revision("1.37.0", "b", "p");
    world.lose("driver");
    for _ in 0..3 {
        let plan = world.pass();
        assert_eq!(plan.deeds, []);
        assert_eq!(world.reason(), "Paused");
        let condition = &world.scene.config.status.as_ref().unwrap().conditions[0];
        assert_eq!(condition.observed_generation, 1, "it speaks of what is installed");
        assert!(condition.message.contains("2026-01-01T01:00:00Z"), "{}", condition.message);
    }
    assert_eq!(world.installed(), installed);

    world.scene.now = "2026-01-01T01:00:00Z".parse().unwrap();
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
    assert_eq!(world.scene.config.status.as_ref().unwrap().conditions[0].observed_generation, 2);
}
