use std::collections::BTreeMap;

use vdo_api::VDOConfigSpec;
use vdo_api::names::PAUSED_UNTIL_ANNOTATION;
use vdo_api::status::{CpiStatus, CsiStatus, DriverRecord, Installed};

use super::*;
use crate::foreign::reasons::FOREIGN_INSTALLATION;

struct Never;

impl Judge for Never {
    fn open_stages(&self, _: &Revision) -> usize {
        0
    }

    fn health(&self, _: &Revision) -> Health {
        Health::Waits("nothing is there".to_owned())
    }
}

fn scene() -> Scene {
    Scene {
        driver: Driver::Cpi,
        config: VDOConfig::new("vdo", VDOConfigSpec::default()),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        holder: "pod".to_owned(),
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
    }
}

fn plan(scene: &Scene, findings: Vec<Finding>) -> Plan {
    Plan::new(scene, &Never, findings, &Rendered::default())
}

#[test]
fn somebody_elses_installation_is_looked_at_again_soon_for_nothing_watches_it() {
    let foreign = Finding::hands_off(&FOREIGN_INSTALLATION, "DaemonSet kube-system/other");
    let plan = plan(&scene(), vec![foreign]);
    assert_eq!(plan.deeds, []);
    assert!(plan.waits());
}

#[test]
fn a_removal_that_is_held_is_looked_at_again_soon_for_nothing_watches_what_holds_it() {
    let installed = DriverRecord {
        installed: Some(Installed {
            release: "1.36.0".to_owned(),
            revision: "r".to_owned(),
            since: serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap(),
        }),
        ..DriverRecord::default()
    };
    let mut scene = scene();
    scene.config.metadata.deletion_timestamp =
        Some(serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap());
    let status = scene.config.status.get_or_insert_default();
    status.cpi = Some(CpiStatus { record: installed.clone(), ..CpiStatus::default() });
    for (others, why) in
        [(Look::Something, Held::CsiObjectsSeen), (Look::Unreadable, Held::CsiObjectsUnreadable)]
    {
        scene.others = others;
        let plan = plan(&scene, Vec::new());
        assert_eq!((plan.decision.held, plan.waits()), (Some(why), true));
    }
    scene.driver = Driver::Csi;
    let status = scene.config.status.get_or_insert_default();
    status.csi = Some(CsiStatus { record: installed, ..CsiStatus::default() });
    for (volumes, why) in [
        (Reading::Present(vec!["PersistentVolume pv-1".to_owned()]), Held::Volumes),
        (Reading::Unreadable("forbidden".to_owned()), Held::VolumesUnreadable),
    ] {
        scene.volumes = volumes;
        let plan = plan(&scene, Vec::new());
        assert_eq!(plan.deeds, []);
        assert_eq!((plan.decision.held, plan.waits()), (Some(why), true));
    }
    // CSI's removal is told in the VDOConfig, which is watched.
    scene.driver = Driver::Cpi;
    scene.others = Look::Nothing;
    assert!(!plan(&scene, Vec::new()).waits());
}

#[test]
fn a_pause_by_the_user_and_a_driver_that_nobody_wants_are_left_at_leisure() {
    let mut paused = scene();
    let until = (PAUSED_UNTIL_ANNOTATION.to_owned(), "2026-01-02T00:00:00Z".to_owned());
    paused.config.metadata.annotations = Some(BTreeMap::from([until]));
    let of_paused = plan(&paused, Vec::new());
    assert_eq!(of_paused.findings[0].reason, &reasons::PAUSED);
    assert!(!of_paused.waits());
    assert!(!plan(&scene(), Vec::new()).waits());
}

#[test]
fn a_release_that_is_not_chosen_yet_is_not_called_one_that_does_not_fit() {
    for (reason, expected) in
        [("VCentersNotRead", &reasons::GATE_HELD), ("NoReleaseFits", &reasons::NO_RELEASE_FITS)]
    {
        let mut scene = scene();
        let gate = vdo_api::status::Gate {
            release: None,
            chosen_by: Default::default(),
            verdict: vdo_api::status::GateVerdict::Held,
            reason: reason.to_owned(),
            message: "in words".to_owned(),
        };
        scene.config.status = Some(vdo_api::VDOConfigStatus {
            gates: Some(vdo_api::status::Gates {
                generation: 0,
                kubernetes: String::new(),
                matrix: Default::default(),
                cpi: Some(gate),
                csi: None,
                csi_needs_cpi: Default::default(),
            }),
            ..Default::default()
        });
        let said = status::held(&scene, Held::NoRelease);
        assert_eq!((said.reason, said.message.as_str()), (expected, "in words"), "{reason}");
    }
}
