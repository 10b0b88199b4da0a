//! What the cloud provider cannot be rendered from, each told by its reason.

#![allow(clippy::unwrap_used)]

use cpi_operator::inputs::{Facts, Inputs, NodeDeletion};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use vdo_api::vcenter::{SecretVersion, Trust, TrustMode, Verified, VsphereCloudConfigStatus};
use vdo_api::{VDOConfigSpec, VsphereCloudConfig, VsphereCloudConfigSpec};
use vdo_plan::vcenter::VcenterFacts;
use vdo_plan::{Reading, credentials};

const SERVER: &str = "vcenter.example.com";

/// A VsphereCloudConfig of this name for this port of the server, verified as a whole.
fn vcenter(name: &str, port: i32) -> VcenterFacts {
    let version = SecretVersion {
        namespace: "vmware-system-vdo".into(),
        name: "credentials".into(),
        uid: "u".into(),
        resource_version: "1".into(),
    };
    let spec = VsphereCloudConfigSpec {
        vc_ip: SERVER.into(),
        port: Some(port),
        credentials: version.name.clone(),
        ..VsphereCloudConfigSpec::default()
    };
    let mut config = VsphereCloudConfig::new(name, spec);
    config.metadata.generation = Some(1);
    config.status = Some(VsphereCloudConfigStatus {
        verified: Some(Verified {
            generation: 1,
            server: SERVER.into(),
            port,
            secret: version.clone(),
            trust: Trust { mode: TrustMode::Ca, sha256: "AA".into(), sha1: "BB".into(), ca_ref: None },
            version: "8.0.3".into(),
            api_version: "8.0.3.0".into(),
            build: "1".into(),
            datacenters: vec!["/DC0".into()],
        }),
        ..VsphereCloudConfigStatus::default()
    });
    let mut secret = Secret { type_: Some("kubernetes.io/basic-auth".into()), ..Secret::default() };
    secret.metadata.namespace = Some(version.namespace);
    secret.metadata.name = Some(version.name);
    secret.metadata.uid = Some(version.uid);
    secret.metadata.resource_version = Some(version.resource_version);
    let entry = |key: &str, value: &str| (key.to_owned(), ByteString(value.as_bytes().to_vec()));
    secret.data = Some([entry("username", "u@vsphere.local"), entry("password", "p")].into());
    VcenterFacts {
        name: name.to_owned(),
        config: Reading::Present(config),
        secret: Reading::Present(credentials::read(&secret)),
        ca: Reading::Absent,
    }
}

fn reasons(release: &str, vcenters: &[VcenterFacts]) -> Vec<&'static str> {
    let spec = VDOConfigSpec::default();
    let facts = Facts { spec: &spec, vcenters, node_deletion: NodeDeletion::Allowed };
    let findings = Inputs::resolve(release.parse().unwrap(), &facts).err().unwrap_or_default();
    findings.iter().map(|it| it.reason.name).collect()
}

#[test]
fn one_vcenter_that_was_verified_is_enough() {
    assert_eq!(reasons("1.36.0", &[vcenter("a", 443)]), [""; 0]);
}

#[test]
fn two_configurations_of_one_server_are_told_by_their_names() {
    let both = [vcenter("a", 443), vcenter("b", 8443)];
    assert_eq!(reasons("1.36.0", &both), ["ServerNamedTwice"]);
}

#[test]
fn a_release_that_this_build_does_not_know_is_told() {
    assert_eq!(reasons("1.99.0", &[vcenter("a", 443)]), ["CPIReleaseNotRendered"]);
}
