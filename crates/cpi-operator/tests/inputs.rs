//! What the cloud provider cannot be rendered from, and what is told of one that works, each by its reason.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use cpi_operator::inputs::{Facts, Inputs, NodeDeletion};
use cpi_operator::observe::{Observed, Site};
use cpi_operator::plan::{plan, render};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use vdo_api::names::CPI_FINALIZER;
use vdo_api::vcenter::{SecretVersion, Trust, TrustMode, Verified, VsphereCloudConfigStatus};
use vdo_api::vdoconfig::CloudProvider;
use vdo_api::{Truth, VDOConfig, VDOConfigSpec, VsphereCloudConfig, VsphereCloudConfigSpec};
use vdo_compat::Driver;
use vdo_plan::driver::{Repair, Row, Scene};
use vdo_plan::finding::next_step;
use vdo_plan::journal::Journal;
use vdo_plan::order::Look;
use vdo_plan::vcenter::VcenterFacts;
use vdo_plan::{Finding, Reading, credentials};
use vdo_runtime::rows::{Renewal, WorkloadRow};

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
    for Finding { message, .. } in &findings {
        assert!(next_step(message).is_some(), "{message:?} has no next step");
    }
    findings.iter().map(|it| it.reason.name).collect()
}

/// A cloud provider that works, in a cluster with so many nodes outside of its vCenters.
fn working(foreign: i64) -> Observed {
    let spec = VDOConfigSpec {
        cloud_provider: Some(CloudProvider {
            vsphere_cloud_configs: vec!["a".into()],
            ..CloudProvider::default()
        }),
        ..VDOConfigSpec::default()
    };
    let mut config = VDOConfig::new("vdo", spec);
    config.metadata.generation = Some(1);
    config.metadata.finalizers = Some(vec![CPI_FINALIZER.to_owned()]);
    let status = json!({
        "gates": {"generation": 1, "kubernetes": "v1.36.0", "matrix": {"source": "BuiltIn", "digest": "d"},
            "cpi": {"release": "1.36.0", "verdict": "Open"}},
        "nodes": {"expected": 3, "initialised": 3, "foreign": foreign}});
    config.status = Some(serde_json::from_value(status).unwrap());
    let mut seen = Observed {
        scene: Scene {
            driver: Driver::Cpi,
            config,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            holder: "pod".into(),
            deadline_seconds: 600,
            journal: Journal::default(),
            rows: Reading::Absent,
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: None,
            quarantined: false,
            ending: Look::Nothing,
            steady: true,
            fresh: false,
            contested: BTreeMap::new(),
            repair: Repair::Idle,
            bearers: Vec::new(),
        },
        vcenters: vec![vcenter("a", 443)],
        site: Site { daemon_set: None, pods: Reading::Present(Vec::new()), lease: Renewal::InTime },
    };
    let revision = render(&seen).wanted.unwrap();
    let id = revision.key.id.clone();
    let row = || Row { uid: "u".into(), revision: Some(id.clone()), owned_fields: None };
    let rows = revision.objects().map(|object| (object.reference().clone(), row())).collect();
    let scene = &mut seen.scene;
    scene.rows = Reading::Present(rows);
    scene.journal.remember(&revision);
    scene.journal.installed = Some(revision.key.clone());
    let record = json!({"installed": {"release": "1.36.0", "revision": id, "since": "2026-01-01T00:00:00Z"}});
    scene.config.status.as_mut().unwrap().cpi = Some(serde_json::from_value(record).unwrap());
    seen.site.daemon_set = Some(WorkloadRow {
        uid: "u".into(),
        desired: 1,
        updated: 1,
        available: 1,
        current: true,
        revision: Some(id),
        stuck: false,
    });
    seen
}

#[test]
fn a_node_outside_of_the_vcenters_is_told_in_the_condition_of_a_driver_that_works() {
    let told = |foreign: i64| {
        let seen = working(foreign);
        let ready = plan(&seen).status(&seen.scene, true).ready;
        assert_eq!((ready.type_.as_str(), ready.status), ("CPIReady", Truth::True));
        (ready.reason, ready.message)
    };
    assert_eq!(told(0), ("Installed".to_owned(), "CPI 1.36.0 works".to_owned()));
    let (reason, message) = told(1);
    assert_eq!(reason, "NodesOutsideVsphere");
    assert!(message.contains("for 1 of 3 nodes"), "{message}");
    assert!(next_step(&message).is_some(), "{message}");
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
