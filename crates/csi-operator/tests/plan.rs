//! What a pass decides, from observation to deeds.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::collections::BTreeMap;

use csi_operator::inputs::KeptRoot;
use csi_operator::observe::{Observed, Site, installed_root};
use csi_operator::plan::{cluster_id_to_record, plan, render};
use csi_operator::stages::Crd;
use fixture::{Field, field};
use vdo_api::names::CSI_FINALIZER;
use vdo_api::status::{
    ChosenBy, CsiStatus, DriverRecord, Gate, GateVerdict, Gates, Installed, MatrixRef, Need, VDOConfigStatus,
};
use vdo_api::vcenter::TrustMode;
use vdo_api::vdoconfig::FileAccess;
use vdo_api::{Truth, VDOConfig};
use vdo_compat::Driver;
use vdo_plan::driver::{Repair, Row, Rows, Scene};
use vdo_plan::foreign::{Platform, Traces};
use vdo_plan::journal::Journal;
use vdo_plan::order::Look;
use vdo_plan::{ObjectRef, Reading, Revision};
use vdo_runtime::rows::{Renewal, WorkloadRow};

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

/// Makes what is asked for the installed revision, and a driver that works.
fn installed(seen: &mut Observed) -> Revision {
    let revision = render(seen).wanted.unwrap();
    let id = revision.key.id.clone();
    let scene = &mut seen.scene;
    scene.journal.remember(&revision);
    scene.journal.installed = Some(revision.key.clone());
    let row = || Row { uid: "u".into(), revision: Some(id.clone()), owned_fields: None };
    let rows = revision.objects().map(|object| (object.reference().clone(), row()));
    (scene.rows, scene.traces) = (Reading::Present(rows.collect()), None);
    scene.config.metadata.finalizers = Some(vec![CSI_FINALIZER.to_owned()]);
    let installed = Installed {
        release: revision.key.release.to_string(),
        revision: id.clone(),
        since: serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap(),
    };
    let record = DriverRecord { installed: Some(installed), ..DriverRecord::default() };
    let status = scene.config.status.as_mut().unwrap();
    status.csi = Some(CsiStatus { record, ..CsiStatus::default() });
    let workload = WorkloadRow {
        uid: "u".into(),
        desired: 1,
        updated: 1,
        available: 1,
        current: true,
        revision: Some(id),
        stuck: false,
    };
    seen.site = Site {
        controller: Some(workload.clone()),
        node: Some(workload),
        topology_crd: Reading::Present(Crd::Established),
        syncer_lease: Reading::Present(Renewal::InTime),
        ..seen.site.clone()
    };
    revision
}

/// What CSIReady says after a pass.
fn told(seen: &Observed) -> (Truth, String, String) {
    let ready = plan(seen).status(&seen.scene, true).ready;
    assert_eq!(ready.type_, "CSIReady");
    (ready.status, ready.reason, ready.message)
}

#[test]
fn b70_networks_that_overlap_are_named_in_the_condition_of_a_driver_that_works() {
    let networks = [("*", Some(FileAccess::ReadOnly), false), ("10.0.0.0/8", None, false)];
    let mut seen = observed(&field().with_file_volumes(&networks), Vec::new());
    installed(&mut seen);
    let (truth, reason, message) = told(&seen);
    assert_eq!((truth, reason.as_str()), (Truth::True, "CSINetworksOverlap"));
    assert!(message.contains("netPermissions * and 10.0.0.0/8 of CSI overlap"), "{message}");
}

#[test]
fn all_advice_is_told_at_once_and_the_gravest_gives_the_condition_its_reason() {
    let networks = [("*", Some(FileAccess::ReadOnly), false), ("10.0.0.0/8", None, false)];
    let mut field = field().trusting(TrustMode::Insecure).with_file_volumes(&networks);
    let volumes = field.storage().file_volumes.as_mut().unwrap();
    volumes.vsan_data_store_url = vec!["ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/".into()];
    let mut seen = observed(&field, Vec::new());
    installed(&mut seen);
    seen.scene.config.spec.storage_provider.as_mut().unwrap().custom_kubelet_path =
        Some("/var/lib/k0s".into());
    seen.cluster.kept = Some(KeptRoot { root: "/var/lib/kubelet".into(), attached: Reading::Absent });
    let (truth, reason, message) = told(&seen);
    assert_eq!((truth, reason.as_str()), (Truth::True, "CSICertificateNotVerified"));
    let places = ["does not verify the certificate", "stays /var/lib/kubelet", "overlap", "vsanDataStoreUrl"];
    let places = places.map(|part| message.find(part).unwrap_or_else(|| panic!("{part}: {message}")));
    assert!(places.is_sorted(), "{message}");
}

#[test]
fn b65_a_kubelet_path_stays_while_volumes_are_attached_below_it() {
    let mut seen = observed(&field(), Vec::new());
    assert_eq!(installed_root(&seen.scene), None);
    let before = installed(&mut seen);
    assert_eq!(told(&seen), (Truth::True, "Installed".to_owned(), "CSI 3.7.0 works".to_owned()));
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
        let (truth, reason, message) = told(&seen);
        assert_eq!((truth, reason.as_str()), (Truth::True, "CSIKubeletPathKept"));
        for said in ["/var/lib/kubelet", "/var/lib/k0s/kubelet", why] {
            assert!(message.contains(said), "{message}");
        }
    }
}
