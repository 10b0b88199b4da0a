//! Rows of `e2e/bad-input.toml` that vdo-core answers with a condition, by their ids.

#![allow(clippy::unwrap_used)]

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use vdo_api::status::{GateVerdict, MatrixRef};
use vdo_api::vcenter::{SecretVersion, Trust, TrustMode, Verified, VsphereCloudConfigStatus};
use vdo_api::vdoconfig::StorageProvider;
use vdo_api::{VDOConfig, VDOConfigSpec, VsphereCloudConfig, VsphereCloudConfigSpec};
use vdo_compat::Driver;
use vdo_core::order::choose::{Question, Wish, answer};
use vdo_core::order::gates::{Ground, publish};
use vdo_core::order::matrix;
use vdo_core::order::nodes::Joined;
use vdo_core::vcenter::check::Unread;
use vdo_core::vcenter::{Aspect, Errand, Facts, Known, resolve, verdict};
use vdo_plan::order::PerDriver;
use vdo_plan::{Reading, credentials, driver::view};
use vsphere_client::Error;

fn vcenter() -> VsphereCloudConfig {
    let spec = VsphereCloudConfigSpec {
        vc_ip: "vc.example.com".to_owned(),
        credentials: "creds".to_owned(),
        ..VsphereCloudConfigSpec::default()
    };
    let mut config = VsphereCloudConfig::new("vc", spec);
    config.metadata.generation = Some(1);
    config
}

fn errand(config: &VsphereCloudConfig) -> Errand {
    let entry = |key: &str, value: &str| (key.to_owned(), ByteString(value.as_bytes().to_vec()));
    let secret = Secret {
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some([entry("username", "u@vsphere.local"), entry("password", "p")].into()),
        ..Secret::default()
    };
    let secret = Reading::Present(credentials::read(&secret));
    resolve(&Facts { config, secret, pinned: false, authority: None, all: &[] }).unwrap()
}

#[test]
fn b12_a_name_that_leads_to_an_address_that_is_not_allowed_is_told_with_the_address() {
    let config = vcenter();
    for address in ["127.0.0.1", "::1", "169.254.169.254"] {
        let errand = errand(&config);
        let why = Error::AddressNotAdmitted {
            endpoint: errand.endpoint.clone(),
            address: address.parse().unwrap(),
        };
        let obstacle = verdict::failure(&config, &errand, &why);
        assert_eq!(
            (obstacle.aspect, obstacle.known, obstacle.reason.name),
            (Aspect::Reachable, Known::Wrong, "AddressNotAllowed")
        );
        for part in ["vc.example.com", address, "spec.vcIp"] {
            assert!(obstacle.message.contains(part), "{part} is not in {:?}", obstacle.message);
        }
    }
}

#[test]
fn b30_a_datacenter_that_is_missing_or_ambiguous_is_told_with_what_there_is() {
    let config = vcenter();
    let wanted = || "DC0".to_owned();
    for (why, reason, there) in [
        (Unread::Missing { wanted: wanted(), found: vec!["/DC1".to_owned()] }, "DatacenterMissing", "/DC1"),
        (Unread::Missing { wanted: wanted(), found: Vec::new() }, "DatacenterMissing", "it has none"),
        (
            Unread::Ambiguous { wanted: wanted(), paths: vec!["/a/DC0".to_owned(), "/b/DC0".to_owned()] },
            "DatacenterAmbiguous",
            "/a/DC0, /b/DC0",
        ),
    ] {
        let obstacle = verdict::unread(&config, &errand(&config), &why);
        assert_eq!((obstacle.aspect, obstacle.reason.name), (Aspect::DatacentersFound, reason));
        for part in ["vc.example.com", "DC0", there] {
            assert!(obstacle.message.contains(part), "{part} is not in {:?}", obstacle.message);
        }
    }
}

#[test]
fn b59_storage_that_needs_a_cloud_provider_says_so() {
    let mut config = vcenter();
    let none = String::new;
    config.status = Some(VsphereCloudConfigStatus {
        verified: Some(Verified {
            generation: 1,
            server: "vc.example.com".to_owned(),
            port: 443,
            secret: SecretVersion { namespace: none(), name: none(), uid: none(), resource_version: none() },
            trust: Trust { mode: TrustMode::Ca, sha256: none(), sha1: none(), ca_ref: None },
            version: "8.0.3".to_owned(),
            api_version: "8.0.3.0".to_owned(),
            build: "1".to_owned(),
            datacenters: Vec::new(),
        }),
        ..VsphereCloudConfigStatus::default()
    });
    let storage = StorageProvider { vsphere_cloud_config: "vc".to_owned(), ..StorageProvider::default() };
    let spec = VDOConfigSpec { storage_provider: Some(storage), ..VDOConfigSpec::default() };
    let mut vdo = VDOConfig::new("vdo", spec);
    vdo.metadata.generation = Some(1);
    let csi = answer(&Question {
        driver: Driver::Csi,
        kubernetes: "1.35.0",
        vcenters: vec![("vc", Reading::Present(&config))],
        wish: Wish::default(),
        installed: None,
        attempted: None,
        refused: None,
        matrix: &Ok(matrix::built_in()),
    });
    assert!(csi.chosen().unwrap().row.needs_cpi);
    let ground = Ground {
        kubernetes: "1.35.0",
        matrix: MatrixRef::default(),
        answers: &PerDriver { cpi: None, csi: Some(csi) },
        nodes: &Reading::Present(Joined { network: true, ..Joined::default() }),
        machines_known: true,
    };
    let gates = publish(&view(&vdo, Timestamp::UNIX_EPOCH), &ground);
    let gate = gates.csi.unwrap();
    assert_eq!((gate.verdict, gate.reason.as_str()), (GateVerdict::Held, "CloudProviderRequired"));
    assert!(gate.message.contains("set spec.cloudProvider"), "{}", gate.message);
}
