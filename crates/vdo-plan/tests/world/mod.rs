//! A small world for one driver: what a plan says is done, and the next pass sees it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use vdo_api::names::CPI_FINALIZER;
use vdo_api::status::{
    ChosenBy, CpiStatus, DriverRecord, Gate, GateVerdict, Gates, MatrixRef, VDOConfigStatus,
};
use vdo_api::vdoconfig::CloudProvider;
use vdo_api::{Truth, VDOConfig, VDOConfigSpec};
use vdo_compat::Driver;
use vdo_plan::driver::{Deed, Health, Judge, Plan, Rendered, Repair, Row, Rows, Scene};
use vdo_plan::journal::Journal;
use vdo_plan::order::Look;
use vdo_plan::{Finding, Object, Reading, Revision, Stage};

pub const KEY: &[u8] = &[7; 32];

/// Every revision works, but for the one with this id, which says why not.
pub struct AllBut(pub Option<(String, String)>);

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

pub fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some("d".to_owned()), ..ObjectMeta::default() }
}

/// A revision of release `release` with this configuration and this password, which the driver reads live.
pub fn revision(release: &str, config: &str, password: &str) -> Revision {
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

pub struct World {
    pub scene: Scene,
    pub wanted: Revision,
    /// The current configuration for the release that is there.
    pub fallback: Option<Revision>,
    pub findings: Vec<Finding>,
    pub broken: Option<(String, String)>,
}

impl World {
    pub fn new() -> Self {
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
            fresh: false,
            contested: BTreeMap::new(),
            repair: Repair::Idle,
            bearers: Vec::new(),
        };
        let mut world = World {
            scene,
            wanted: revision("1.36.0", "a", "p"),
            fallback: None,
            findings: Vec::new(),
            broken: None,
        };
        world.open_gate("1.36.0");
        world
    }

    pub fn open_gate(&mut self, release: &str) {
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

    pub fn plan(&self) -> Plan {
        let rendered = Rendered { wanted: Some(self.wanted.clone()), fallback: self.fallback.clone() };
        Plan::new(&self.scene, &AllBut(self.broken.clone()), self.findings.clone(), &rendered)
    }

    /// Makes one pass: the deeds and the report. Gives what it did.
    pub fn pass(&mut self) -> Plan {
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
                            // Objects of one name have other fields in another revision.
                            owned_fields: Some(format!("fields of {id}")),
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
    pub fn settle(&mut self) -> usize {
        for passes in 0..20 {
            if self.pass().deeds.is_empty() && self.plan().deeds.is_empty() {
                return passes;
            }
        }
        panic!("it does not settle: {:?}", self.plan().decision)
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.scene.rows.present().unwrap().keys().map(|reference| reference.name.clone()).collect();
        names.sort();
        names
    }

    pub fn hold_gate(&mut self) {
        let gates = self.scene.config.status.as_mut().unwrap().gates.as_mut().unwrap();
        gates.cpi.as_mut().unwrap().verdict = GateVerdict::Held;
    }

    pub fn lose(&mut self, name: &str) {
        let Reading::Present(rows) = &mut self.scene.rows else { unreachable!() };
        rows.retain(|reference, _| reference.name != name);
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        let annotations = self.scene.config.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
    }

    pub fn record(&self) -> DriverRecord {
        self.scene.config.status.as_ref().unwrap().cpi.as_ref().unwrap().record.clone()
    }

    /// The id of the installed revision.
    pub fn installed(&self) -> String {
        self.record().installed.unwrap().revision
    }

    pub fn reason(&self) -> &str {
        &self.scene.config.status.as_ref().unwrap().conditions[0].reason
    }

    pub fn ready(&self) -> Truth {
        self.scene.config.status.as_ref().unwrap().conditions[0].status
    }
}
