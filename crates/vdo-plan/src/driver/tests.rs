use std::collections::BTreeMap;

use vdo_api::VDOConfigSpec;
use vdo_api::names::PAUSED_UNTIL_ANNOTATION;

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
        quarantined: false,
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
fn a_pause_by_the_user_and_a_driver_that_nobody_wants_are_left_at_leisure() {
    let mut paused = scene();
    let until = (PAUSED_UNTIL_ANNOTATION.to_owned(), "2026-01-02T00:00:00Z".to_owned());
    paused.config.metadata.annotations = Some(BTreeMap::from([until]));
    let of_paused = plan(&paused, Vec::new());
    assert_eq!(of_paused.findings[0].reason, &reasons::PAUSED);
    assert!(!of_paused.waits());
    assert!(!plan(&scene(), Vec::new()).waits());
}
