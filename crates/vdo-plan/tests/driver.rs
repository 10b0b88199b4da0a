//! One driver's passes against a small world: what a plan says is done, and the next pass sees it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use vdo_api::names::CPI_FINALIZER;
use vdo_api::reason::AS_WANTED;
use vdo_api::status::{
    ChosenBy, CpiStatus, DriverRecord, Gate, GateVerdict, Gates, MatrixRef, VDOConfigStatus,
};
use vdo_api::vdoconfig::{CloudProvider, DriftRepair};
use vdo_api::{Truth, VDOConfig, VDOConfigSpec};
use vdo_compat::Driver;
use vdo_plan::drift::Fight;
use vdo_plan::driver::{Deed, Health, Judge, Plan, Rendered, Row, Rows, Scene};
use vdo_plan::journal::Journal;
use vdo_plan::order::{Look, Step};
use vdo_plan::{Finding, Object, Reading, Revision, Stage};

const KEY: &[u8] = &[7; 32];

/// Every revision works, but for the one with this id, which says why not.
struct AllBut(Option<(String, String)>);

impl Judge for AllBut {
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, revision: &Revision) -> Health {
        match &self.0 {
            Some((id, why)) if *id == revision.key.id => Health::Waits(why.clone()),
            Some(_) | None => Health::Works,
        }
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some("d".to_owned()), ..ObjectMeta::default() }
}

/// A revision of release `release` with this configuration and this password, which the driver reads live.
fn revision(release: &str, config: &str, password: &str) -> Revision {
    let map = ConfigMap { metadata: meta(&format!("config-{config}")), ..ConfigMap::default() };
    let secret = Secret {
        metadata: meta("credentials"),
        data: Some([("password".to_owned(), ByteString(password.into()))].into()),
        ..Secret::default()
    };
    let set = DaemonSet { metadata: meta("driver"), ..DaemonSet::default() };
    let stages = vec![
        Stage { name: "configuration".into(), objects: vec![Object::live(&secret), Object::new(&map)] },
        Stage { name: "workload".into(), objects: vec![Object::new(&set)] },
    ];
    Revision::seal(Driver::Cpi, release.parse().unwrap(), &json!(config), stages, KEY)
}

struct World {
    scene: Scene,
    wanted: Revision,
    findings: Vec<Finding>,
    broken: Option<(String, String)>,
}

impl World {
    fn new() -> Self {
        let mut config = VDOConfig::new(
            "vdo",
            VDOConfigSpec {
                cloud_provider: Some(CloudProvider {
                    vsphere_cloud_configs: vec!["vc".to_owned()],
                    ..CloudProvider::default()
                }),
                ..VDOConfigSpec::default()
            },
        );
        config.metadata.generation = Some(1);
        let scene = Scene {
            driver: Driver::Cpi,
            config,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            holder: "pod".to_owned(),
            deadline_seconds: 600,
            journal: Journal { hmac_key: KEY.to_vec(), ..Journal::default() },
            rows: Reading::Present(Rows::new()),
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: None,
            quarantined: false,
            ending: Look::Nothing,
            steady: true,
            contested: BTreeMap::new(),
        };
        let mut world =
            World { scene, wanted: revision("1.36.0", "a", "p"), findings: Vec::new(), broken: None };
        world.open_gate("1.36.0");
        world
    }

    fn open_gate(&mut self, release: &str) {
        let status = self.scene.config.status.get_or_insert_with(VDOConfigStatus::default);
        status.gates = Some(Gates {
            generation: self.scene.config.metadata.generation.unwrap(),
            kubernetes: "1.36.3".to_owned(),
            matrix: MatrixRef::default(),
            cpi: Some(Gate {
                release: Some(release.to_owned()),
                chosen_by: ChosenBy::Matrix,
                verdict: GateVerdict::Open,
                reason: String::new(),
                message: String::new(),
            }),
            csi: None,
            csi_needs_cpi: Default::default(),
        });
    }

    fn plan(&self) -> Plan {
        let rendered = Rendered { wanted: Some(self.wanted.clone()), fallback: None };
        Plan::new(&self.scene, &AllBut(self.broken.clone()), self.findings.clone(), &rendered)
    }

    /// Makes one pass: the deeds and the report. Gives what it did.
    fn pass(&mut self) -> Plan {
        let plan = self.plan();
        let rows = match &mut self.scene.rows {
            Reading::Present(rows) => rows,
            _ => panic!("a pass over rows that cannot be read writes nothing"),
        };
        for deed in &plan.deeds {
            match deed {
                Deed::TakeFinalizer => {
                    self.scene.config.metadata.finalizers = Some(vec![CPI_FINALIZER.to_owned()]);
                }
                Deed::ReleaseFinalizer => self.scene.config.metadata.finalizers = None,
                Deed::WriteJournal(journal) => self.scene.journal = journal.clone(),
                Deed::Apply(stages) => {
                    for object in stages.iter().flatten() {
                        let id = object.value()["metadata"]["annotations"]["vdo.vmware.com/revision"].clone();
                        let row = Row {
                            uid: format!("uid-{}", object.reference().name),
                            revision: id.as_str().map(str::to_owned),
                            owned_fields: Some("fields".to_owned()),
                        };
                        rows.insert(object.reference().clone(), row);
                    }
                }
                Deed::Prune(prunes) => prunes.iter().for_each(|prune| drop(rows.remove(&prune.reference))),
                Deed::LookAgain => assert!(rows.is_empty()),
            }
        }
        let part = plan.status(&self.scene, true);
        let status = self.scene.config.status.get_or_insert_with(VDOConfigStatus::default);
        status.cpi = Some(CpiStatus { record: part.record, node_status: BTreeMap::new() });
        status.conditions = vec![part.ready];
        plan
    }

    /// Passes until one does nothing. Gives how many did something.
    fn settle(&mut self) -> usize {
        for passes in 0..20 {
            if self.pass().deeds.is_empty() && self.plan().deeds.is_empty() {
                return passes;
            }
        }
        panic!("it does not settle: {:?}", self.plan().decision)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.scene.rows.present().unwrap().keys().map(|reference| reference.name.clone()).collect();
        names.sort();
        names
    }

    fn hold_gate(&mut self) {
        let gates = self.scene.config.status.as_mut().unwrap().gates.as_mut().unwrap();
        gates.cpi.as_mut().unwrap().verdict = GateVerdict::Held;
    }

    fn lose(&mut self, name: &str) {
        let Reading::Present(rows) = &mut self.scene.rows else { unreachable!() };
        rows.retain(|reference, _| reference.name != name);
    }

    fn annotate(&mut self, key: &str, value: &str) {
        let annotations = self.scene.config.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
    }

    fn record(&self) -> DriverRecord {
        self.scene.config.status.as_ref().unwrap().cpi.as_ref().unwrap().record.clone()
    }

    /// The id of the installed revision.
    fn installed(&self) -> String {
        self.record().installed.unwrap().revision
    }

    fn ready(&self) -> Truth {
        self.scene.config.status.as_ref().unwrap().conditions[0].status
    }
}

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
    let [Deed::WriteJournal(journal), Deed::Apply(stages)] = &plan.deeds[..] else {
        panic!("{:?}", plan.deeds)
    };
    assert_eq!(journal.revision(&world.wanted.key.id), Some(&world.wanted));
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
    let [Deed::WriteJournal(_), Deed::Apply(stages)] = &plan.deeds[..] else { panic!("{:?}", plan.deeds) };
    assert_eq!(stages.concat(), revision("1.36.0", "a", "another").stages[0].objects[..1]);
    assert_eq!(world.settle(), 0);
    // A new configuration needs no gate; and with the gate open the new rendering is rolled out.
    world.open_gate("1.36.0");
    world.settle();
    assert_eq!(world.installed(), world.wanted.key.id);
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
    assert_eq!(record.refused[0].message, "pod vdo-cpi-x: ImagePullBackOff");
    // It rests, whatever wakes it, and the driver that works says so.
    assert_eq!((world.settle(), world.ready()), (0, Truth::True));
    world.broken = None;
    assert_eq!(world.settle(), 0);
    world.annotate("vdo.vmware.com/retry-rollout", "again");
    world.settle();
    assert_eq!(world.installed(), new.key.id);
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
    world.scene.contested.clear();
    world.settle();
    assert_eq!(world.names(), ["config-a", "credentials", "driver"]);
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
