//! What took storage or nodes down in the original operator, one test for each defect that the plan of a driver decides.
//! docs/original-defects.md has the others.

#![allow(clippy::unwrap_used)]

mod world;

use vdo_api::Truth;
use vdo_api::status::{GateVerdict, Phase};
use vdo_plan::driver::{Deed, Plan};
use vdo_plan::order::Step;
use world::{World, revision};

/// Whether a plan takes something away.
fn deletes(plan: &Plan) -> bool {
    plan.deeds.iter().any(|deed| matches!(deed, Deed::Prune(_) | Deed::ReleaseFinalizer))
}

fn installed() -> World {
    let mut world = World::new();
    world.settle();
    world
}

#[test]
fn a1_no_match_keeps_the_driver_and_says_so() {
    let mut world = installed();
    let gates = world.scene.config.status.as_mut().unwrap().gates.as_mut().unwrap();
    let gate = gates.cpi.as_mut().unwrap();
    (gate.release, gate.verdict) = (None, GateVerdict::Held);
    let plan = world.pass();
    assert_eq!(plan.deeds, []);
    assert_eq!((world.ready(), world.names().len()), (Truth::True, 3));
    assert!(plan.findings.iter().any(|it| it.reason.name == "NoReleaseFits"), "{:?}", plan.findings);
    // It is repaired all the same.
    world.lose("driver");
    world.settle();
    assert_eq!(world.names().len(), 3);
}

#[test]
fn a3_an_upgrade_never_takes_the_workload_away_and_never_passes_through_failed() {
    let mut world = installed();
    world.open_gate("1.37.0");
    world.wanted = revision("1.37.0", "b", "p");
    for _ in 0..10 {
        let plan = world.pass();
        assert!(world.names().contains(&"driver".to_owned()), "{:?}", plan.deeds);
        assert_ne!(world.record().phase, Some(Phase::Failed));
    }
    assert_eq!(world.installed(), world.wanted.key.id);
}

#[test]
fn a4_an_upgrade_is_not_forgotten_over_a_restart_at_any_moment() {
    // A pass keeps nothing in memory: each is a restart. Status may even be lost.
    for lost_after in 0..6 {
        let mut world = installed();
        world.open_gate("1.37.0");
        world.wanted = revision("1.37.0", "b", "p");
        for _ in 0..lost_after {
            world.pass();
        }
        let status = world.scene.config.status.as_mut().unwrap();
        (status.cpi, status.conditions) = (None, Vec::new());
        world.settle();
        assert_eq!(world.installed(), world.wanted.key.id, "status lost after {lost_after} passes");
        assert_eq!(world.names(), ["config-b", "credentials", "driver"]);
    }
}

#[test]
fn b1_a_changed_manifest_is_applied_and_drift_is_put_back() {
    let mut world = installed();
    world.lose("config-a");
    assert!(matches!(world.pass().deeds[..], [Deed::Apply(_)]));
    world.wanted = revision("1.36.0", "b", "p");
    world.settle();
    assert_eq!(world.names(), ["config-b", "credentials", "driver"]);
}

#[test]
fn b2_a_deletion_is_finished_before_the_object_goes() {
    let mut world = installed();
    let now = serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap();
    world.scene.config.metadata.deletion_timestamp = Some(now);
    let first = world.plan();
    assert!(!first.deeds.contains(&Deed::ReleaseFinalizer), "{:?}", first.deeds);
    world.settle();
    assert_eq!((world.names().len(), world.scene.config.metadata.finalizers.is_none()), (0, true));
}

#[test]
fn b3_a_new_password_is_noticed() {
    let mut world = installed();
    world.wanted = revision("1.36.0", "a", "another");
    assert_ne!(world.pass().deeds, []);
}

#[test]
fn b11_a_roll_out_says_that_it_deploys() {
    let mut world = World::new();
    let plan = world.pass();
    assert!(matches!(plan.decision.step, Step::Claim { .. }));
    assert_eq!(world.record().phase, Some(Phase::Deploying));
    assert!(!deletes(&plan));
}
