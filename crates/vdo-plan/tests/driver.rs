//! One driver's passes against a small world.

#![allow(clippy::unwrap_used)]

mod world;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use vdo_api::Truth;
use vdo_api::condition::MESSAGE_LIMIT;
use vdo_api::reason::{AS_WANTED, NOT_SEEN_YET};
use vdo_api::vdoconfig::DriftRepair;
use vdo_compat::Driver;
use vdo_plan::drift::Fight;
use vdo_plan::driver::reasons::GATE_HELD;
use vdo_plan::driver::{Bearer, Bearers, Deed, Plan, Repair};
use vdo_plan::journal::Journal;
use vdo_plan::order::{Look, Step};
use vdo_plan::revision::content_id;
use vdo_plan::{Finding, Object, Reading, Revision};
use world::{KEY, World, meta, revision};

#[test]
fn a_first_install_claims_before_it_applies_and_then_rests() {
    let mut world = World::new();
    let first = world.pass();
    assert!(matches!(first.decision.step, Step::Claim { take_finalizer: true, .. }), "{:?}", first.decision);
    assert_eq!(world.names(), Vec::<String>::new());
    let second = world.pass();
    assert!(matches!(second.deeds[..], [Deed::Apply(_)]), "{:?}", second.deeds);
    world.settle();
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
    assert_eq!(world.ready(), Truth::True);
    assert_eq!(world.plan().deeds, []);
}

#[test]
fn a_new_password_is_applied_in_place_after_the_journal_knows_it() {
    let mut world = World::new();
    world.settle();
    world.wanted = revision("1.36.0", "a", "another");
    let plan = world.pass();
    let [Deed::WriteJournal(journal), Deed::Apply(stages), Deed::WriteJournal(after)] = &plan.deeds[..]
    else {
        panic!("{:?}", plan.deeds)
    };
    assert_eq!(journal.revision(&world.wanted.key.id), Some(&world.wanted));
    let due: Vec<&str> = journal.unapplied.iter().map(|object| object.name.as_str()).collect();
    assert_eq!((due, after.unapplied.len()), (vec!["credentials"], 0));
    let applied: Vec<&str> = stages.iter().flatten().map(|o| o.reference().name.as_str()).collect();
    assert_eq!(applied, ["credentials"]);
    assert_eq!(world.ready(), Truth::True);
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_new_configuration_is_rolled_out_and_what_it_replaces_is_pruned_at_the_end() {
    let mut world = World::new();
    world.settle();
    world.wanted = revision("1.36.0", "b", "p");
    assert!(matches!(world.pass().decision.step, Step::Claim { .. }));
    world.pass();
    assert!(world.names().contains(&"config-a".to_owned()), "pruned before the new one works");
    world.settle();
    assert_eq!(world.names(), ["config-b", "credentials", "driver"]);
}

#[test]
fn what_is_lost_is_put_back_from_the_journal_also_while_something_holds_changes() {
    let mut world = World::new();
    world.settle();
    world.findings = vec![Finding::hold(&AS_WANTED, "held")];
    world.wanted = revision("1.37.0", "b", "p");
    let Reading::Present(rows) = &mut world.scene.rows else { unreachable!() };
    rows.retain(|reference, _| reference.name != "driver");
    let plan = world.pass();
    let [Deed::Apply(stages)] = &plan.deeds[..] else { panic!("{:?}", plan.deeds) };
    let applied: Vec<&str> = stages.iter().flatten().map(|o| o.reference().name.as_str()).collect();
    assert_eq!(applied, ["driver"]);
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
    assert_eq!(world.settle(), 0);
}

#[test]
fn what_is_put_back_in_the_same_pass_changes_no_word_of_the_status() {
    let mut world = World::new();
    world.settle();
    let before = world.scene.config.status.clone();
    for name in ["config-a", "credentials", "driver"] {
        world.lose(name);
        assert!(matches!(world.pass().deeds[..], [Deed::Apply(_)]));
        assert_eq!(world.scene.config.status, before, "{name}");
        // Nor does it if the API server refuses it for once.
        world.lose(name);
        let refused = world.plan().status(&world.scene, false);
        assert_eq!(Some(&refused.ready), before.as_ref().unwrap().conditions.first(), "{name}");
        world.settle();
    }
}

#[test]
fn a_workload_that_was_made_anew_has_a_while_to_start_its_pods_and_then_it_is_told() {
    let mut world = World::new();
    world.settle();
    let before = world.scene.config.status.clone();
    world.lose("driver");
    world.broken = Some((world.installed(), "0 of 3 pods work".to_owned()));
    assert!(world.pass().mends);
    assert_eq!(world.scene.config.status, before);
    world.scene.repair = Repair::Fresh;
    assert!(world.pass().mends);
    assert_eq!(world.scene.config.status, before);
    world.scene.repair = Repair::Late;
    assert!(world.pass().mends);
    assert_eq!((world.ready(), world.reason()), (Truth::False, "NotWorking"));
    assert!(world.record().status_msg.unwrap().contains("0 of 3 pods work"));
    // Nothing is promised anew to what is False already.
    world.lose("driver");
    world.scene.repair = Repair::Fresh;
    world.pass();
    assert_eq!(world.ready(), Truth::False);
    world.broken = None;
    world.scene.repair = Repair::Late;
    assert!(!world.pass().mends);
    assert_eq!((world.ready(), world.reason()), (Truth::True, "Installed"));
}

#[test]
fn a_pod_that_a_repaired_edit_cost_is_no_news_although_the_driver_was_seen_whole_in_between() {
    let mut world = World::new();
    world.settle();
    let before = world.scene.config.status.clone();
    world.lose("driver");
    world.pass();
    world.scene.repair = Repair::Fresh;
    // The numbers are still those from before the edit; then the pod goes, and comes back.
    assert!(world.pass().mends);
    world.broken = Some((world.installed(), "2 of 3 pods work".to_owned()));
    world.pass();
    assert_eq!(world.scene.config.status, before);
    world.broken = None;
    assert!(world.pass().mends);
    world.scene.repair = Repair::Late;
    assert!(!world.pass().mends);
    assert_eq!(world.scene.config.status, before);
}

/// A pod that was created so many seconds before its account, at 00:00:00.
fn pod(name: &str, before: i64) -> Bearer {
    let made: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    Bearer {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        created: made.checked_sub(SignedDuration::from_secs(before)).unwrap(),
        ready: true,
        ending: false,
    }
}

fn bearers(account: &'static str, at_once: usize, pods: &[Bearer]) -> Bearers {
    let made = Some("2026-01-01T00:00:00Z".parse().unwrap());
    Bearers { account, made, at_once, pods: pods.to_vec() }
}

fn restarted(plan: &Plan) -> Vec<&str> {
    plan.restarts.now.iter().map(|pod| &*pod.name).collect()
}

#[test]
fn pods_older_than_their_account_are_restarted_and_the_word_on_the_driver_stands() {
    let mut world = World::new();
    world.settle();
    let before = world.scene.config.status.clone();
    // Two API servers may disagree about a moment, and a pod that goes needs no help.
    let goes = Bearer { ending: true, ..pod("goes", 60) };
    let pods = [pod("b", 60), pod("a", 5), pod("at-once", 4), pod("after", -60), goes];
    world.scene.bearers = vec![bearers("driver", usize::MAX, &pods)];
    let plan = world.pass();
    assert_eq!((restarted(&plan), plan.restarts.stale, plan.waits()), (vec!["a", "b"], 2, true));
    assert_eq!(plan.deeds, []);
    // What worked a moment ago is given the time to come back.
    world.scene.repair = Repair::Fresh;
    world.broken = Some((world.installed(), "0 of 3 pods work".to_owned()));
    world.pass();
    assert_eq!(world.scene.config.status, before);
    world.scene.bearers[0].pods = vec![pod("c", -1)];
    world.broken = None;
    world.scene.repair = Repair::Late;
    let plan = world.pass();
    assert_eq!((restarted(&plan), plan.mends, plan.waits()), (vec![], false, false));
    assert_eq!(world.scene.config.status, before);
}

#[test]
fn no_pod_is_restarted_without_need_or_while_anything_else_is_to_be_done() {
    let mut world = World::new();
    // A first installation takes its time, whatever the clocks say.
    world.scene.bearers = vec![bearers("driver", usize::MAX, &[pod("a", 60)])];
    assert_eq!(restarted(&world.pass()), [""; 0]);
    assert_eq!(restarted(&world.pass()), [""; 0]);
    world.settle();
    assert_eq!(restarted(&world.plan()), ["a"]);
    let whole = world.scene.clone();
    // After an hour every kubelet has asked for another token.
    world.scene.now = "2026-01-01T01:00:00Z".parse().unwrap();
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole.clone();
    world.scene.bearers[0].made = None;
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole.clone();
    world.scene.config.spec.drift_repair = DriftRepair::Report;
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole.clone();
    world.scene.quarantined = true;
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole.clone();
    world.lose("config-a");
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole.clone();
    world.scene.rows = Reading::Unreadable("forbidden".to_owned());
    assert_eq!(restarted(&world.plan()), [""; 0]);
    world.scene = whole;
    world.wanted = revision("1.36.0", "b", "p");
    world.pass();
    assert_eq!(restarted(&world.plan()), [""; 0]);
}

#[test]
fn pods_of_nodes_follow_their_controller_a_few_at_a_time() {
    let mut world = World::new();
    world.settle();
    let nodes: Vec<Bearer> = ["n1", "n2", "n3", "n4", "n5"].iter().map(|name| pod(name, 60)).collect();
    let set = |controller: Bearer, nodes: &[Bearer]| {
        vec![bearers("controller", usize::MAX, &[controller]), bearers("node", 3, nodes)]
    };
    world.scene.bearers = set(pod("controller", 60), &nodes);
    assert_eq!(restarted(&world.plan()), ["controller"]);
    // Going, and then there again and not ready: the nodes wait for it.
    for controller in
        [Bearer { ending: true, ..pod("controller", 60) }, Bearer { ready: false, ..pod("controller-2", -1) }]
    {
        world.scene.bearers = set(controller, &nodes);
        assert_eq!(restarted(&world.plan()), [""; 0]);
    }
    world.scene.bearers = set(pod("controller-2", -1), &nodes);
    assert_eq!(restarted(&world.plan()), ["n1", "n2", "n3"]);
    // One is there again, one starts, one goes; and that of a node that is off comes last.
    let mut later = nodes.clone();
    later[0] = pod("n1-2", -1);
    later[1] = Bearer { ready: false, ..pod("n2-2", -1) };
    later[2].ending = true;
    later[3].ready = false;
    world.scene.bearers = set(pod("controller-2", -1), &later);
    assert_eq!(restarted(&world.plan()), ["n5"]);
}

#[test]
fn what_fails_with_all_its_objects_in_place_is_told_at_once() {
    let mut world = World::new();
    world.settle();
    world.broken = Some((world.installed(), "pod vdo-cpi-x: OOMKilled".to_owned()));
    assert!(!world.pass().mends);
    assert_eq!((world.ready(), world.reason()), (Truth::False, "NotWorking"));
}

#[test]
fn a_field_that_somebody_took_is_drift() {
    let mut world = World::new();
    world.settle();
    let Reading::Present(rows) = &mut world.scene.rows else { unreachable!() };
    for row in rows.values_mut().take(1) {
        row.owned_fields = Some("fewer".to_owned());
    }
    assert!(matches!(world.plan().deeds[..], [Deed::Apply(_)]), "{:?}", world.plan().deeds);
}

#[test]
fn nothing_is_written_over_objects_that_cannot_be_read_nor_in_quarantine() {
    let mut world = World::new();
    world.settle();
    world.wanted = revision("1.36.0", "a", "another");
    let readable = world.scene.rows.clone();
    world.scene.rows = Reading::Unreadable("forbidden".to_owned());
    assert_eq!(world.plan().deeds, []);
    world.scene.rows = readable;
    world.scene.quarantined = true;
    assert_eq!(world.plan().deeds, []);
    world.scene.quarantined = false;
    assert_ne!(world.plan().deeds, []);
}

#[test]
fn a_driver_that_is_not_wanted_any_more_goes_with_everything_of_it() {
    let mut world = World::new();
    world.settle();
    world.scene.config.spec.cloud_provider = None;
    world.scene.config.metadata.generation = Some(2);
    world.open_gate("1.36.0");
    world.settle();
    assert_eq!(world.names(), Vec::<String>::new());
    assert!(world.scene.journal.is_clear());
    assert_eq!(world.scene.journal.hmac_key, KEY);
    assert_eq!(world.scene.config.metadata.finalizers, None);
    let record = &world.scene.config.status.as_ref().unwrap().cpi.as_ref().unwrap().record;
    assert_eq!((&record.installed, &record.attempt), (&None, &None));
    assert_eq!((world.ready(), world.reason()), (Truth::False, "NotWanted"));
}

/// The configuration `a` of a driver that reads this password when it starts and never again: its pods bear a digest.
fn read_once(password: &str) -> Revision {
    let mut stages = revision("1.36.0", "a", password).stages;
    let digest = content_id(KEY, password.as_bytes());
    let annotations = Some([("digest".to_owned(), digest.clone())].into());
    let mut set =
        DaemonSet { metadata: meta("driver"), spec: Some(Default::default()), ..DaemonSet::default() };
    let template = &mut set.spec.as_mut().unwrap().template;
    template.metadata = Some(ObjectMeta { annotations, ..ObjectMeta::default() });
    stages[1].objects = vec![Object::new(&set)];
    Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &json!("a"), stages, KEY).started_with(digest)
}

/// A driver with the password `p`, and a roll-out of the password `q` that is claimed and not applied.
fn rotating(world: &mut World) -> (Revision, Revision) {
    let (old, new) = (read_once("p"), read_once("q"));
    world.wanted = old.clone();
    world.settle();
    world.hold_gate();
    world.wanted = new.clone();
    let plan = world.pass();
    assert!(matches!(plan.decision.step, Step::Claim { .. }), "{:?}", plan.decision);
    (old, new)
}

#[test]
fn a_new_password_of_a_driver_that_reads_it_once_is_one_roll_out_also_while_the_gate_is_held() {
    let mut world = World::new();
    let (_, new) = rotating(&mut world);
    let plan = world.pass();
    let [Deed::Apply(stages)] = &plan.deeds[..] else { panic!("{:?}", plan.deeds) };
    assert_eq!(stages.last(), Some(&new.stages[1].objects));
    world.settle();
    assert_eq!((world.installed(), world.ready()), (new.key.id, Truth::True));
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_roll_out_of_a_new_password_that_fails_goes_back_to_the_pods_of_before_with_the_new_password() {
    let mut world = World::new();
    let (old, new) = rotating(&mut world);
    world.broken = Some((new.key.id.clone(), "1 of 3 pods work".to_owned()));
    world.settle();
    world.scene.now = "2026-01-01T00:10:01Z".parse().unwrap();
    // Why it failed is on record first.
    assert_eq!(world.pass().deeds, []);
    let plan = world.pass();
    let Some(Deed::Apply(stages)) = plan.deeds.first() else { panic!("{:?}", plan.deeds) };
    assert_eq!(stages.last(), Some(&old.stages[1].objects));
    let secret = stages.iter().flatten().find(|it| it.reference().kind == "Secret").unwrap();
    assert_eq!(secret.value()["data"], new.stages[0].objects[0].value()["data"]);
    world.settle();
    assert_eq!((world.installed(), world.settle(), world.ready()), (old.key.id.clone(), 0, Truth::True));
    // Refused or not, the next password counts.
    world.broken = None;
    world.wanted = read_once("r");
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
}

/// The installed configuration, rendered by another build.
fn rendered_otherwise(config: &str, password: &str) -> Revision {
    let mut stages = revision("1.36.0", config, password).stages;
    let set = DaemonSet { metadata: meta("driver"), spec: Some(Default::default()), ..DaemonSet::default() };
    stages[1].objects = vec![Object::new(&set)];
    Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &json!(config), stages, KEY)
}

#[test]
fn a_build_that_renders_otherwise_changes_nothing_while_the_gate_is_held() {
    let mut world = World::new();
    world.settle();
    let installed = world.wanted.clone();
    world.wanted = rendered_otherwise("a", "p");
    world.hold_gate();
    assert_eq!(world.settle(), 0);
    // What is lost comes back as it was, and a new password arrives all the same.
    world.lose("driver");
    let plan = world.pass();
    let [Deed::Apply(stages)] = &plan.deeds[..] else { panic!("{:?}", plan.deeds) };
    assert_eq!(stages.concat(), installed.stages[1].objects);
    world.wanted = rendered_otherwise("a", "another");
    let plan = world.pass();
    let [Deed::WriteJournal(_), Deed::Apply(stages), Deed::WriteJournal(_)] = &plan.deeds[..] else {
        panic!("{:?}", plan.deeds)
    };
    assert_eq!(stages.concat(), revision("1.36.0", "a", "another").stages[0].objects[..1]);
    assert_eq!(world.settle(), 0);
    // A new configuration needs no gate; and with the gate open the new rendering is rolled out.
    world.open_gate("1.36.0");
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
}

#[test]
fn an_edit_of_release_and_configuration_is_one_roll_out_although_the_gate_is_a_moment_late() {
    let mut world = World::new();
    world.settle();
    let installed = world.installed();
    world.open_gate("1.37.0");
    world.hold_gate();
    world.wanted = revision("1.37.0", "b", "p");
    world.fallback = Some(revision("1.36.0", "b", "p"));
    world.scene.fresh = true;
    assert_eq!(world.settle(), 0);
    world.open_gate("1.37.0");
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
    assert_ne!(world.installed(), installed);
}

#[test]
fn while_the_gate_stays_held_a_new_configuration_goes_to_the_release_that_is_there() {
    let mut world = World::new();
    world.settle();
    world.open_gate("1.37.0");
    world.hold_gate();
    world.wanted = revision("1.37.0", "b", "p");
    world.fallback = Some(revision("1.36.0", "b", "p"));
    world.settle();
    assert_eq!(world.installed(), world.fallback.as_ref().unwrap().key.id);
}

#[test]
fn a_roll_out_tells_when_it_has_to_be_looked_at_again() {
    let mut world = World::new();
    assert_eq!(world.scene.deadline(), None);
    world.pass();
    assert_eq!(world.scene.deadline(), Some("2026-01-01T00:10:00Z".parse().unwrap()));
    world.scene.now = "2026-01-01T00:10:00Z".parse().unwrap();
    assert_eq!(world.scene.deadline(), None);
    world.settle();
    assert_eq!(world.scene.deadline(), None);
}

#[test]
fn a_new_configuration_of_another_build_needs_no_gate() {
    let mut world = World::new();
    world.settle();
    world.wanted = rendered_otherwise("b", "p");
    world.hold_gate();
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
}

#[test]
fn what_is_rolled_out_over_something_that_works_counts_after_a_while_and_a_first_install_at_once() {
    let mut world = World::new();
    world.scene.steady = false;
    world.settle();
    let first = world.wanted.key.id.clone();
    assert_eq!(world.installed(), first);
    world.wanted = revision("1.36.0", "b", "p");
    world.settle();
    assert_eq!(world.installed(), first);
    assert_eq!(world.plan().works.unwrap().id, world.wanted.key.id);
    world.scene.steady = true;
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
}

#[test]
fn a_roll_out_that_never_works_goes_back_says_why_and_is_tried_again_only_when_asked() {
    let mut world = World::new();
    world.settle();
    let (old, new) = (world.wanted.key.id.clone(), revision("1.37.0", "a", "p"));
    world.open_gate("1.37.0");
    world.wanted = new.clone();
    world.broken = Some((new.key.id.clone(), "pod vdo-cpi-x: ImagePullBackOff".to_owned()));
    world.settle();
    assert_eq!(world.installed(), old);
    world.scene.now = "2026-01-01T00:10:01Z".parse().unwrap();
    world.settle();
    let record = world.record();
    assert_eq!((record.attempt.as_ref(), record.installed.unwrap().revision), (None, old));
    let refused = &record.refused[0];
    assert_eq!((&*refused.reason, &*refused.message), ("RolloutTimedOut", "pod vdo-cpi-x: ImagePullBackOff"));
    // It rests, whatever wakes it, and the driver that works says so.
    assert_eq!((world.settle(), world.ready()), (0, Truth::True));
    world.broken = None;
    assert_eq!(world.settle(), 0);
    world.annotate("vdo.vmware.com/retry-rollout", "again");
    world.settle();
    assert_eq!(world.installed(), new.key.id);
}

#[test]
fn why_a_roll_out_failed_is_on_record_before_the_first_object_goes_back() {
    let mut world = World::new();
    world.settle();
    let new = revision("1.37.0", "a", "p");
    world.open_gate("1.37.0");
    world.wanted = new.clone();
    world.broken = Some((new.key.id.clone(), "pod vdo-cpi-x: ImagePullBackOff".to_owned()));
    world.settle();
    world.scene.now = "2026-01-01T00:10:01Z".parse().unwrap();
    assert_eq!(world.pass().deeds, []);
    assert_eq!(world.record().attempt.unwrap().failure, "pod vdo-cpi-x: ImagePullBackOff");

    // The process dies between its objects and its report, and the next one sees what goes back.
    let status = world.scene.config.status.clone();
    assert_ne!(world.pass().deeds, []);
    world.scene.config.status = status;
    world.broken = Some((new.key.id, "the workload is not updated yet".to_owned()));
    world.settle();
    assert_eq!(world.record().refused[0].message, "pod vdo-cpi-x: ImagePullBackOff");
}

#[test]
fn an_edit_in_the_middle_of_a_roll_out_wins() {
    let mut world = World::new();
    world.settle();
    let broken = revision("1.36.0", "b", "p");
    world.broken = Some((broken.key.id.clone(), "pod: CrashLoopBackOff".to_owned()));
    world.wanted = broken;
    world.pass();
    world.pass();
    world.wanted = revision("1.36.0", "c", "p");
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
    assert_eq!(world.names(), ["config-c", "credentials", "driver"]);
}

#[test]
fn drift_is_only_told_of_where_the_user_wants_it_so() {
    let mut world = World::new();
    world.settle();
    world.scene.config.spec.drift_repair = DriftRepair::Report;
    world.lose("config-a");
    let plan = world.pass();
    assert_eq!(plan.deeds, []);
    let said = &plan.findings[0];
    assert_eq!(said.reason.name, "DriftReported");
    assert!(said.message.contains("config-a"), "{}", said.message);
    assert_eq!((world.ready(), world.reason()), (Truth::True, "DriftReported"));
    // A roll-out is no drift: it is wanted.
    world.wanted = revision("1.36.0", "b", "p");
    world.settle();
    assert_eq!(world.names(), ["config-b", "credentials", "driver"]);
}

#[test]
fn an_object_that_is_fought_over_is_left_alone_and_the_others_are_not() {
    let mut world = World::new();
    world.settle();
    world.lose("config-a");
    world.lose("driver");
    let reference = |name: &str| {
        let mut objects = world.wanted.objects().map(|object| object.reference().clone());
        objects.find(|it| it.name == name).unwrap()
    };
    let fight = Fight { with: "argocd".into(), times: 3, until: std::time::Duration::from_secs(60) };
    world.scene.contested = [(reference("config-a"), fight)].into();
    let plan = world.pass();
    assert_eq!(world.names(), ["credentials", "driver"]);
    let said = plan.findings.iter().find(|finding| finding.reason.name == "DriftFight").unwrap();
    assert!(said.message.contains("argocd") && said.message.contains("config-a"), "{}", said.message);
    world.pass();
    assert_eq!((world.ready(), world.reason()), (Truth::True, "DriftFight"));
    world.scene.contested.clear();
    world.settle();
    assert_eq!((world.ready(), world.reason()), (Truth::True, "Installed"));
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
}

/// The message of the driver's condition.
fn message(world: &World) -> &str {
    &world.scene.config.status.as_ref().unwrap().conditions[0].message
}

#[test]
fn all_advice_is_told_drift_first_and_the_first_gives_the_condition_its_reason() {
    let mut world = World::new();
    world.settle();
    world.findings = vec![Finding::advise(&NOT_SEEN_YET, "one; see it"), Finding::advise(&AS_WANTED, "two")];
    world.pass();
    assert_eq!((world.ready(), world.reason()), (Truth::True, "NotSeenYet"));
    assert_eq!(message(&world), "CPI 1.36.0 works; one; see it | two");
    // There is nothing more to write, also while something is put back.
    let before = world.scene.config.status.clone();
    world.pass();
    assert_eq!(world.scene.config.status, before);
    world.lose("driver");
    world.pass();
    assert_eq!(world.scene.config.status, before);
    world.settle();
    assert_eq!(world.scene.config.status, before);

    world.scene.config.spec.drift_repair = DriftRepair::Report;
    world.lose("config-a");
    world.pass();
    assert_eq!((world.ready(), world.reason()), (Truth::True, "DriftReported"));
    assert!(message(&world).starts_with("CPI 1.36.0 works; 1 of its objects"), "{}", message(&world));
    assert!(message(&world).ends_with(" | one; see it | two"), "{}", message(&world));

    // What holds comes before all advice.
    world.findings.push(Finding::hold(&GATE_HELD, "held"));
    world.pass();
    assert_eq!((world.reason(), message(&world)), ("GateHeld", "CPI 1.36.0 works; held"));
}

#[test]
fn advice_that_is_too_long_for_a_condition_is_counted() {
    let mut world = World::new();
    world.settle();
    let long = |letter: &str| Finding::advise(&AS_WANTED, letter.repeat(900));
    world.findings = ["a", "b", "c", "d"].map(long).into();
    world.pass();
    assert!(message(&world).chars().count() <= MESSAGE_LIMIT);
    assert!(message(&world).ends_with("bbb | and 2 more, told once these are mended"), "{}", message(&world));
}

#[test]
fn that_a_replica_has_just_taken_over_is_told_without_a_reason_of_its_own() {
    let mut world = World::new();
    world.settle();
    world.scene.quarantined = true;
    let told = world.plan().status(&world.scene, true);
    assert_eq!((told.ready.status, told.reason.name), (Truth::True, "Installed"));
    assert!(told.ready.message.contains("has just taken over"), "{}", told.ready.message);
    world.findings = vec![Finding::advise(&NOT_SEEN_YET, "one")];
    assert_eq!(reason(&world), "NotSeenYet");
}

#[test]
fn a_vdoconfig_that_goes_with_vdo_itself_takes_no_driver_with_it() {
    let mut world = World::new();
    world.settle();
    world.scene.config.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    world.scene.ending = Look::Unreadable;
    assert_eq!(world.plan().deeds, []);
    world.scene.ending = Look::Something;
    world.settle();
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
    assert_eq!(world.scene.config.metadata.finalizers, None);
    // A new VDOConfig takes its orphans back.
    world.scene.config.metadata.deletion_timestamp = None;
    world.scene.ending = Look::Nothing;
    world.scene.config.status = None;
    world.open_gate("1.36.0");
    world.settle();
    assert_eq!((world.installed(), world.ready()), (world.wanted.key.id.clone(), Truth::True));
}

#[test]
fn a_journal_that_lost_the_bytes_of_what_is_rolled_out_gets_them_again() {
    let mut world = World::new();
    world.pass();
    world.scene.journal = Journal { hmac_key: KEY.to_vec(), ..Journal::default() };
    world.settle();
    assert_eq!((world.installed(), world.ready()), (world.wanted.key.id.clone(), Truth::True));
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
}

#[test]
fn what_a_lost_journal_knew_of_is_taken_back_and_what_is_left_of_it_goes() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
    // As after the namespace of the operators was deleted: neither the journal nor the VDOConfig remembers anything.
    world.scene.journal = Journal { hmac_key: world.scene.journal.hmac_key.clone(), ..Journal::default() };
    world.scene.config.status = None;
    world.wanted = revision("1.36.0", "b", "p");
    world.open_gate("1.36.0");
    world.settle();
    assert_eq!(world.names(), ["config-b", "credentials", "driver"]);
    assert_eq!(world.ready(), Truth::True);
}

/// The reason that the condition of the driver would have now.
fn reason(world: &World) -> &'static str {
    world.plan().status(&world.scene, true).reason.name
}

#[test]
fn what_is_waited_for_has_its_reason() {
    let mut edited = World::new();
    edited.settle();
    edited.scene.config.metadata.generation = Some(2);
    edited.wanted = revision("1.36.0", "b", "p");
    assert_eq!(reason(&edited), "WaitsForGates");

    let mut older = World::new();
    older.settle();
    older.open_gate("1.35.0");
    older.wanted = revision("1.35.0", "a", "p");
    assert_eq!(reason(&older), "DowngradeNotAsked");

    let mut dark = World::new();
    dark.settle();
    dark.scene.rows = Reading::Unreadable("forbidden".to_owned());
    // Without its record it would take an upgrade for a first install.
    dark.scene.config.status.as_mut().unwrap().cpi = None;
    assert_eq!(reason(&dark), "ObjectsUnreadable");

    let mut stays = World::new();
    stays.settle();
    stays.scene.config.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    stays.scene.others = Look::Something;
    assert_eq!(reason(&stays), "CSIStillThere");

    let mut taken_over = World::new();
    taken_over.scene.quarantined = true;
    assert!(taken_over.plan().findings.iter().any(|it| it.reason.name == "Settling"));

    let mut going = World::new();
    going.settle();
    going.scene.config.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    going.scene.ending = Look::Unreadable;
    assert_eq!(reason(&going), "EndingUnknown");
    assert_eq!(going.plan().deeds, []);
}
