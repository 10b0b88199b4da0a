//! A VDOConfig as the operators leave it: every condition, record and gate in it comes from their own functions, so that a
//! screen which is shown to people is one that they can meet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use vdo_api::names::{CPI_FINALIZER, CSI_FINALIZER};
use vdo_api::status::{DriverRecord, NodeFinding, NodesSummary};
use vdo_api::{Condition, VDOConfig, VsphereCloudConfig, condition};
use vdo_compat::{Driver, Source};
use vdo_core::order::choose::{Answer, Question, Wish, answer, before_the_next_kubernetes};
use vdo_core::order::matrix::{Chosen, built_in};
use vdo_core::order::nodes::Joined;
use vdo_core::order::{gates, sum};
use vdo_plan::driver::{Deed, Health, Judge, Plan, Rendered, Repair, Scene, view};
use vdo_plan::journal::Journal;
use vdo_plan::order::{Look, PerDriver};
use vdo_plan::{Finding, Reading, Revision};

const KEY: &[u8] = b"the key of the journal, 32 bytes";
const DEADLINE: i64 = 600;

/// The cluster, and what its operators remember.
pub struct Field {
    pub config: VDOConfig,
    pub vcenter: VsphereCloudConfig,
    pub now: Timestamp,
    kubernetes: &'static str,
    matrix: Result<Chosen, Finding>,
    nodes: NodesSummary,
    volumes: Vec<String>,
    /// What does not work, and what it says.
    trouble: BTreeMap<String, String>,
    journals: PerDriver<Journal>,
}

/// What runs works, unless something else is known of its release.
struct Fate<'a>(&'a BTreeMap<String, String>);

impl Judge for Fate<'_> {
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, revision: &Revision) -> Health {
        match self.0.get(&revision.key.release.to_string()) {
            Some(what) => Health::Waits(what.clone()),
            None => Health::Works,
        }
    }
}

impl Field {
    /// Both drivers are asked for, and nobody has looked yet.
    pub fn new(kubernetes: &'static str, vcenter: Value) -> Field {
        let config = json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "vdo", "namespace": "vmware-system-vdo", "generation": 2,
                "creationTimestamp": "2026-03-01T11:50:00Z"},
            "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc1"]}, "storageProvider": {"vsphereCloudConfig": "vc1"}}});
        Field {
            config: serde_json::from_value(config).unwrap(),
            vcenter: serde_json::from_value(vcenter).unwrap(),
            now: "2026-03-01T11:57:00Z".parse().unwrap(),
            kubernetes,
            matrix: Ok(built_in()),
            nodes: NodesSummary { expected: 3, initialised: 3, ..NodesSummary::default() },
            volumes: Vec::new(),
            trouble: BTreeMap::new(),
            journals: PerDriver::default(),
        }
    }

    /// With this matrix in the ConfigMap `comp-matrix-config`.
    pub fn with_matrix(mut self, rows: &Value) -> Field {
        let text = json!({"schemaVersion": 1, "rows": rows}).to_string();
        let matrix = vdo_matrix::parse(Source::ConfigMap, &text).unwrap().matrix;
        let reference = vdo_api::status::MatrixRef {
            source: "ConfigMap/comp-matrix-config".to_owned(),
            digest: matrix.digest.clone(),
        };
        self.matrix = Ok(Chosen { matrix: Arc::new(matrix), reference, ..built_in() });
        self
    }

    pub fn kubernetes(mut self, version: &'static str) -> Field {
        self.kubernetes = version;
        self
    }

    pub fn vcenter(mut self, vcenter: Value) -> Field {
        self.vcenter = serde_json::from_value(vcenter).unwrap();
        self
    }

    pub fn nodes(mut self, initialised: i64, findings: Value) -> Field {
        let findings: Vec<NodeFinding> = serde_json::from_value(findings).unwrap();
        self.nodes = NodesSummary { initialised, findings, ..self.nodes };
        self
    }

    /// From now on this release does not work, and says so.
    pub fn trouble(mut self, release: &str, says: &str) -> Field {
        self.trouble.insert(release.to_owned(), says.to_owned());
        self
    }

    /// Another release of CSI is asked for.
    pub fn csi_pinned(mut self, release: &str) -> Field {
        self.config.spec.storage_provider.as_mut().unwrap().version = Some(release.to_owned());
        *self.config.metadata.generation.as_mut().unwrap() += 1;
        self
    }

    pub fn deleted_while_needed(mut self, volumes: &[&str]) -> Field {
        self.volumes = volumes.iter().map(|name| (*name).to_owned()).collect();
        self.config.metadata.deletion_timestamp = Some(Time(self.now));
        self
    }

    /// The time is this now.
    pub fn at(mut self, now: &str) -> Field {
        self.now = now.parse().unwrap();
        self
    }

    /// Each operator makes its passes until nothing is left to say at this moment.
    pub fn settled(mut self) -> Field {
        for _ in 0..20 {
            let before = self.config.clone();
            self.vdo_core();
            self.driver(Driver::Cpi);
            self.driver(Driver::Csi);
            self.vdo_core();
            if self.config == before {
                return self;
            }
        }
        panic!("they always have something new to say");
    }

    /// What the gate of CSI says.
    pub fn csi_gate(&self) -> String {
        let gates = self.config.status.as_ref().unwrap().gates.as_ref().unwrap();
        gates.csi.as_ref().unwrap().message.clone()
    }

    /// As vdo-core sums it up.
    fn vdo_core(&mut self) {
        let spec = self.config.spec.clone();
        let view = view(&self.config, self.now);
        let ask = |driver: Driver, wish: Wish<'_>| {
            let question = Question {
                driver,
                kubernetes: self.kubernetes,
                vcenters: vec![("vc1", Reading::Present(&self.vcenter))],
                wish,
                installed: view.records.of(driver).installed.as_ref().map(|key| key.release),
                attempted: view.records.of(driver).rolling().map(|key| key.release),
                refused: view.records.of(driver).refused_release.as_ref().map(|it| it.key.release),
                matrix: &self.matrix,
            };
            (answer(&question), before_the_next_kubernetes(&question))
        };
        let (cpi, cpi_next) = ask(Driver::Cpi, Wish::from(spec.cloud_provider.as_ref().unwrap()));
        let (csi, csi_next) = ask(Driver::Csi, Wish::from(spec.storage_provider.as_ref().unwrap()));
        let answers: PerDriver<Option<Answer>> = PerDriver { cpi: Some(cpi), csi: Some(csi) };
        let waiting = usize::try_from(self.nodes.expected - self.nodes.initialised).unwrap();
        let joined = Joined { summary: self.nodes.clone(), waiting, network: true, ..Joined::default() };
        let nodes = Reading::Present(joined);
        let published = gates::publish(
            &view,
            &gates::Ground {
                kubernetes: self.kubernetes,
                matrix: self.matrix.as_ref().map(|it| it.reference.clone()).unwrap_or_default(),
                answers: &answers,
                nodes: &nodes,
                machines_known: true,
            },
        );
        let conditions = sum::conditions(&sum::Scene {
            config: &self.config,
            vcenters: &[("vc1".to_owned(), Reading::Present(self.vcenter.clone()))],
            answers: &answers,
            stale: None,
            next: &[cpi_next, csi_next].into_iter().flatten().collect::<Vec<_>>(),
            gates: &published,
            nodes: &nodes,
            pulses: PerDriver { cpi: sum::Pulse::Beats, csi: sum::Pulse::Beats },
            lacking: &[],
            known_for: Duration::ZERO,
            now: self.now,
        });
        let status = self.config.status.get_or_insert_default();
        status.observed_generation = self.config.metadata.generation;
        status.gates = Some(published);
        status.nodes = Some(self.nodes.clone());
        tell(&mut status.conditions, conditions);
    }

    /// One pass of the operator of a driver.
    fn driver(&mut self, driver: Driver) {
        let volumes = if driver == Driver::Csi { self.volumes.clone() } else { Vec::new() };
        let mut scene = Scene {
            driver,
            config: self.config.clone(),
            now: self.now,
            holder: "pod".to_owned(),
            deadline_seconds: DEADLINE,
            journal: self.journals.of(driver).clone(),
            rows: Reading::Absent,
            others: Look::Nothing,
            volumes: Reading::Present(volumes),
            traces: None,
            quarantined: false,
            ending: Look::Nothing,
            steady: true,
            fresh: false,
            contested: BTreeMap::new(),
            repair: Repair::Idle,
            bearers: Vec::new(),
        };
        let releases = scene.releases();
        let render = |release| Revision::seal(driver, release, &json!({}), Vec::new(), KEY);
        let rendered =
            Rendered { wanted: releases.wanted.map(render), fallback: releases.fallback.map(render) };
        for revision in [&rendered.wanted, &rendered.fallback].into_iter().flatten() {
            scene.journal.remember(revision);
        }
        let plan = Plan::new(&scene, &Fate(&self.trouble), Vec::new(), &rendered);
        let part = plan.status(&scene, true);
        scene.journal.installed = plan.decision.record.installed.clone();
        *self.journals.of_mut(driver) = scene.journal;
        if plan.deeds.contains(&Deed::TakeFinalizer) {
            let finalizer = match driver {
                Driver::Cpi => CPI_FINALIZER,
                Driver::Csi => CSI_FINALIZER,
            };
            self.config.metadata.finalizers.get_or_insert_default().push(finalizer.to_owned());
        }
        let status = self.config.status.get_or_insert_default();
        tell(&mut status.conditions, vec![part.ready]);
        let record: &mut DriverRecord = match driver {
            Driver::Cpi => &mut status.cpi.get_or_insert_default().record,
            Driver::Csi => &mut status.csi.get_or_insert_default().record,
        };
        *record = part.record;
    }
}

/// Puts conditions in the place of those that were there.
fn tell(stored: &mut Vec<Condition>, new: Vec<Condition>) {
    let new = condition::merge(stored, new);
    stored.retain(|old| condition::find(&new, &old.type_).is_none());
    stored.extend(new);
}
