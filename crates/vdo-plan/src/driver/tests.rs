use std::collections::BTreeMap;
use std::slice;

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

/// CPI 1.35.0 is installed, and the revision with this id of the wanted 1.36.0 was rolled back in this generation.
fn rolled_back(id: &str, generation: i64) -> Scene {
    let mut scene = scene();
    scene.config.metadata.generation = Some(7);
    let value = serde_json::json!({"vsphereCloudConfigs": ["vc1"]});
    scene.config.spec.cloud_provider = Some(serde_json::from_value(value).unwrap());
    let since = "2026-01-01T00:00:00Z";
    let status = serde_json::json!({
        "gates": {"generation": 7, "kubernetes": "v1.36.0", "matrix": {"source": "BuiltIn", "digest": "d"},
            "cpi": {"release": "1.36.0", "verdict": "Open"}},
        "cpi": {
            "installed": {"release": "1.35.0", "revision": "r", "since": since},
            "refused": [{"kind": "Release", "release": "1.36.0", "revision": id, "generation": generation,
                "reason": "RolloutTimedOut", "since": since}]}});
    scene.config.status = Some(serde_json::from_value(status).unwrap());
    scene
}

#[test]
fn a_roll_back_is_told_in_the_words_of_the_release_that_is_asked_for() {
    let mut scene = rolled_back("new", 7);
    let status = scene.config.status.as_mut().unwrap();
    let refused = &mut status.cpi.as_mut().unwrap().record.refused;
    refused[0].message = "no pod is ready".to_owned();
    let mut other = refused[0].clone();
    (other.release, other.message) = ("1.35.0".to_owned(), "the login was refused".to_owned());
    refused.push(other);
    let said = status::held(&scene, Held::Refused);
    assert_eq!(said.message, "CPI 1.36.0 was rolled back; no pod is ready");
}

#[test]
fn a_roll_back_is_told_while_what_was_rolled_back_is_asked_for_and_the_record_keeps_it_for_longer() {
    let seal = |key: &[u8]| {
        Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &serde_json::json!({}), Vec::new(), key)
    };
    let (refused, other) = (seal(b"one"), seal(b"another"));
    let told = |scene: &Scene, findings: Vec<Finding>, wanted: &Revision| {
        let rendered = Rendered { wanted: Some(wanted.clone()), fallback: None };
        let plan = Plan::new(scene, &Never, findings, &rendered);
        let kept = plan.status(scene, true).record.refused;
        assert_eq!(kept.iter().map(|it| &it.revision).collect::<Vec<_>>(), [&refused.key.id]);
        plan.held_back
    };
    let scene = rolled_back(&refused.key.id, 7);
    assert_eq!(told(&scene, Vec::new(), &refused), slice::from_ref(&refused.key));
    assert_eq!(told(&scene, Vec::new(), &other), []);
    assert_eq!(told(&rolled_back(&refused.key.id, 6), Vec::new(), &refused), []);
    // What holds everything back settles nothing.
    let hold = || vec![Finding::hold(&reasons::GATE_HELD, "waits")];
    assert_eq!(told(&scene, hold(), &refused), slice::from_ref(&refused.key));
    assert_eq!(told(&scene, hold(), &other), []);
}
