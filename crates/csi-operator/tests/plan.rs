//! What a pass decides, from observation to deeds.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::collections::BTreeMap;

use csi_operator::inputs::KeptRoot;
use csi_operator::observe::{Observed, Site, installed_root};
use csi_operator::plan::{cluster_id_to_record, plan, render};
use fixture::{Field, field};
use vdo_api::VDOConfig;
use vdo_api::status::{
    ChosenBy, CsiStatus, DriverRecord, Gate, GateVerdict, Gates, Installed, MatrixRef, Need, VDOConfigStatus,
};
use vdo_compat::Driver;
use vdo_plan::driver::{Repair, Rows, Scene};
use vdo_plan::foreign::{Platform, Traces};
use vdo_plan::journal::Journal;
use vdo_plan::order::Look;
use vdo_plan::{ObjectRef, Reading};

const UID: &str = "1c3a9a3e-6f2b-4c59-9a3e-6f2b4c59aa01";

/// A cluster in which nothing of the driver is there and its gate is open.
fn observed(field: &Field, others: Vec<ObjectRef>) -> Observed {
    let mut config = VDOConfig::new("vdo", field.spec.clone());
    config.metadata.generation = Some(1);
    let gate = Gate {
        release: Some(field.release.clone()),
        chosen_by: ChosenBy::Matrix,
        verdict: GateVerdict::Open,
        reason: String::new(),
        message: String::new(),
    };
    let gates = Gates {
        generation: 1,
        kubernetes: "1.36.3".into(),
        matrix: MatrixRef::default(),
        cpi: None,
        csi: Some(gate),
        csi_needs_cpi: Need::NotRequired,
    };
    config.status = Some(VDOConfigStatus { gates: Some(gates), ..VDOConfigStatus::default() });
    Observed {
        scene: Scene {
            driver: Driver::Csi,
            config,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            holder: "pod".into(),
            deadline_seconds: 600,
            journal: Journal::default(),
            rows: Reading::Present(Rows::new()),
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: Some(Traces {
                platform: Reading::Present(Platform::Plain),
                others: Reading::Present(others),
                taken: Reading::Present(Vec::new()),
            }),
            quarantined: false,
            ending: Look::Nothing,
            steady: true,
            fresh: false,
            contested: BTreeMap::new(),
            repair: Repair::Idle,
            bearers: Vec::new(),
        },
        vcenter: Some(field.vcenter_facts()),
        cluster: field.cluster.clone(),
        cluster_id: field.cluster_id.clone(),
        site: Site {
            controller: None,
            node: None,
            pods: Reading::Present(Vec::new()),
            topology_crd: Reading::Absent,
            syncer_lease: Reading::Absent,
            unregistered: Reading::Present((1, Vec::new())),
            registered: Reading::Present(Vec::new()),
        },
    }
}

#[test]
fn the_cluster_id_is_recorded_with_the_first_write_and_only_once() {
    let mut seen = observed(&field(), Vec::new());
    let first = plan(&seen);
    assert!(!first.deeds.is_empty(), "{:?}", first.findings);
    assert_eq!(cluster_id_to_record(&seen, &first).as_deref(), Some(UID));
    seen.cluster_id.recorded = Reading::Present(UID.into());
    assert_eq!(cluster_id_to_record(&seen, &plan(&seen)), None);
}

#[test]
fn beside_somebody_elses_driver_nothing_is_written_not_even_the_cluster_id() {
    let other = ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: Some("kube-system".into()),
        name: "vsphere-csi-controller".into(),
    };
    let seen = observed(&field(), vec![other]);
    let plan = plan(&seen);
    assert_eq!(plan.deeds, []);
    assert_eq!(cluster_id_to_record(&seen, &plan), None);
    assert!(plan.waits());
}

#[test]
fn b65_a_kubelet_path_stays_while_volumes_are_attached_below_it() {
    let mut seen = observed(&field(), Vec::new());
    assert_eq!(installed_root(&seen.scene), None);
    let before = render(&seen).wanted.unwrap();
    seen.scene.journal.remember(&before);
    let installed = Installed {
        release: before.key.release.to_string(),
        revision: before.key.id.clone(),
        since: serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap(),
    };
    let record = DriverRecord { installed: Some(installed), ..DriverRecord::default() };
    let status = seen.scene.config.status.as_mut().unwrap();
    status.csi = Some(CsiStatus { record, ..CsiStatus::default() });
    assert_eq!(installed_root(&seen.scene).as_deref(), Some("/var/lib/kubelet"));

    let storage = seen.scene.config.spec.storage_provider.as_mut().unwrap();
    storage.custom_kubelet_path = Some("/var/lib/k0s/kubelet".into());
    let moved = render(&seen).wanted.unwrap();
    assert_ne!(moved.key, before.key);

    for (attached, why) in [
        (Reading::Present(vec!["VolumeAttachment csi-1".to_owned()]), "VolumeAttachment csi-1"),
        (Reading::Unreadable("forbidden".to_owned()), "forbidden"),
    ] {
        seen.cluster.kept = Some(KeptRoot { root: "/var/lib/kubelet".into(), attached });
        assert_eq!(render(&seen).wanted.unwrap().key, before.key);
        let finding = plan(&seen).findings.into_iter().find(|it| it.reason.name == "CSIKubeletPathKept");
        let message = finding.unwrap().message;
        for said in ["/var/lib/kubelet", "/var/lib/k0s/kubelet", why] {
            assert!(message.contains(said), "{message}");
        }
    }
}
