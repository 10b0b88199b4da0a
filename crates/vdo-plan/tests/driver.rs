//! One driver's passes against a small world: what a plan says is done, and the next pass sees it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vdo_api::names::CPI_FINALIZER;
use vdo_api::reason::AS_WANTED;
use vdo_api::status::{ChosenBy, CpiStatus, Gate, GateVerdict, Gates, MatrixRef, VDOConfigStatus};
use vdo_api::vdoconfig::CloudProvider;
use vdo_api::{Truth, VDOConfig, VDOConfigSpec};
use vdo_compat::Driver;
use vdo_plan::driver::{Deed, Health, Judge, Plan, Rendered, Row, Rows, Scene};
use vdo_plan::journal::Journal;
use vdo_plan::order::{Look, Step};
use vdo_plan::{Finding, Object, Reading, Revision, Stage};

const KEY: &[u8] = &[7; 32];

struct Steady;

impl Judge for Steady {
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, _: &Revision) -> Health {
        Health::Works
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
    Revision::seal(Driver::Cpi, release.parse().unwrap(), stages, KEY)
}

struct World {
    scene: Scene,
    wanted: Revision,
    findings: Vec<Finding>,
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
        };
        let mut world = World { scene, wanted: revision("1.36.0", "a", "p"), findings: Vec::new() };
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
        Plan::new(&self.scene, &Steady, self.findings.clone(), &rendered)
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
