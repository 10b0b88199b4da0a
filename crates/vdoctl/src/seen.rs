//! What was read of a cluster, and what it comes to. Pure.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use vdo_api::condition::{find, truth};
use vdo_api::status::{DriverRecord, NodesSummary, Verb};
use vdo_api::{Condition, Truth, VDOConfig, VsphereCloudConfig};
use vdo_compat::Driver;
use vdo_plan::Reading;
use vdo_plan::order::{Contender, active};

use crate::{explain, next};

/// The condition that says whether Kubernetes may be upgraded.
const UPGRADEABLE: &str = "Upgradeable";

/// What was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The namespace of the operators.
    pub namespace: String,
    /// When.
    pub now: Timestamp,
    /// The VDOConfigs; absent if the kind itself is not there.
    pub configs: Reading<Vec<VDOConfig>>,
    /// The VsphereCloudConfigs.
    pub vcenters: Vec<VsphereCloudConfig>,
    /// Objects that do not decode, and why.
    pub broken: Vec<(String, String)>,
    /// The operators.
    pub operators: Reading<Vec<Operator>>,
}

/// A program of the chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// How many replicas there should be.
    pub wanted: i32,
    /// How many answer.
    pub available: i32,
}

impl Operator {
    /// Whether every replica answers.
    pub fn is_whole(&self) -> bool {
        self.available >= self.wanted
    }
}

/// What it comes to: the answer for programs, and what the screen is drawn from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether everything is as the VDOConfig asks.
    pub ready: bool,
    /// The same in words, with why not.
    pub summary: String,
    /// The VDOConfig that counts, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vdo_config: Option<String>,
    /// What vdo-core says of it as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Said>,
    /// The drivers that are wanted, installed or on their way.
    pub drivers: Vec<DriverReport>,
    /// The vCenters that the VDOConfig names.
    pub vcenters: Vec<VcenterReport>,
    /// The nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesSummary>,
    /// Whether Kubernetes may be upgraded with what is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Said>,
    /// Other conditions that are not as they should be.
    pub conditions: Vec<Said>,
    /// VDOConfigs that do not count, and objects that do not decode.
    pub ignored: Vec<Ignored>,
    /// The operators, as far as they may be seen.
    pub operators: Vec<Operator>,
    /// The one thing to do now.
    pub next: String,
}

/// One driver.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverReport {
    /// `CPI` or `CSI`.
    pub driver: Driver,
    /// The release that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// The release that was chosen for what is asked for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptReport>,
    /// What its operator says.
    pub condition: Said,
}

impl DriverReport {
    /// What its operator says beyond which release is installed, and that it works.
    pub fn beyond(&self) -> &str {
        let message = self.condition.message.as_str();
        let named = self.installed.as_ref().map(|release| format!("{} {release}", self.driver.name()));
        let Some(rest) = named.and_then(|named| message.strip_prefix(&named)) else { return message };
        match (rest.strip_prefix(" works"), rest.strip_prefix(": ")) {
            (Some(rest), _) => rest.trim_start_matches("; "),
            (None, Some(rest)) => rest,
            (None, None) => message,
        }
    }

    /// Whether its operator says this, or a part of it: the answers for both drivers stand in one message, and what one
    /// operator says of its driver stands behind the type of the condition.
    fn says(&self, message: &str) -> bool {
        message.split(" | ").any(|part| {
            let of =
                part.strip_prefix(self.condition.type_.as_str()).and_then(|rest| rest.strip_prefix(": "));
            [self.beyond(), self.condition.message.as_str()].contains(&of.unwrap_or(part))
        })
    }

    /// Whether it works, and something is to be said about it all the same: a hold, drift, a pause.
    pub fn has_news(&self) -> bool {
        let said = &self.condition;
        said.status == Truth::True
            && self.attempt.is_none()
            && said.reason != vdo_plan::driver::reasons::INSTALLED.name
    }
}

/// A roll-out or a removal under way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptReport {
    /// `Roll` or `Remove`.
    pub verb: Verb,
    /// The release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it is given up.
    pub deadline: Timestamp,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds for what is asked for now.
    pub status: Truth,
    /// The word for why.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// One vCenter.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VcenterReport {
    /// The name of its VsphereCloudConfig.
    pub name: String,
    /// Its server.
    pub server: String,
    /// Its version, once it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The condition that decides: `Ready`, or the first one that is not True.
    pub condition: Said,
}

/// Something that does not count.
#[derive(Clone, Debug, Serialize)]
pub struct Ignored {
    /// Which object.
    pub object: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Sums up what was seen.
    pub fn of(seen: &Seen) -> Report {
        let mut report = Report {
            ready: false,
            summary: String::new(),
            vdo_config: None,
            condition: None,
            drivers: Vec::new(),
            vcenters: Vec::new(),
            nodes: None,
            upgrade: None,
            conditions: Vec::new(),
            ignored: Vec::new(),
            operators: seen.operators.present().cloned().unwrap_or_default(),
            next: String::new(),
        };
        let broken = seen
            .broken
            .iter()
            .map(|(object, why)| Ignored { object: object.clone(), why: format!("cannot be read: {why}") });
        report.ignored.extend(broken);
        match &seen.configs {
            Reading::Absent => report.summary = "Not ready: VDO is not installed in this cluster".to_owned(),
            Reading::Unreadable(why) => {
                report.summary = format!("Not known: the VDOConfigs cannot be read: {why}")
            }
            Reading::Present(configs) => match active(&contenders(configs)) {
                None => {
                    report.summary = format!("Not ready: no VDOConfig is in namespace {}", seen.namespace);
                }
                Some(at) => report.look_at(seen, configs, at),
            },
        }
        report.next = next::step(seen, &report);
        report
    }

    fn look_at(&mut self, seen: &Seen, configs: &[VDOConfig], at: usize) {
        let config = &configs[at];
        let name = config.metadata.name.as_deref().unwrap_or_default();
        self.vdo_config = Some(format!("{}/{name}", seen.namespace));
        let others = configs.iter().enumerate().filter(|(number, _)| *number != at);
        self.ignored.extend(others.map(|(_, other)| Ignored {
            object: format!("VDOConfig {}", other.metadata.name.as_deref().unwrap_or_default()),
            why: format!("{name} is the one that counts"),
        }));
        let generation = config.metadata.generation.unwrap_or_default();
        let status = config.status.clone().unwrap_or_default();
        let ready = said(&status.conditions, "Ready", generation);
        self.ready = ready.status == Truth::True;
        self.summary = summary(config, &ready);
        self.condition = Some(ready);
        for driver in [Driver::Cpi, Driver::Csi] {
            let (wanted, record) = match driver {
                Driver::Cpi => (config.spec.wants_cpi(), status.cpi.as_ref().map(|it| &it.record)),
                Driver::Csi => (config.spec.wants_csi(), status.csi.as_ref().map(|it| &it.record)),
            };
            let record = record.cloned().unwrap_or_default();
            if wanted || record.installed.is_some() || record.attempt.is_some() {
                let gates = status.gates.as_ref().filter(|gates| gates.generation == generation);
                let gate = gates.and_then(|gates| match driver {
                    Driver::Cpi => gates.cpi.as_ref(),
                    Driver::Csi => gates.csi.as_ref(),
                });
                let chosen = gate.and_then(|gate| gate.release.clone()).filter(|_| wanted);
                self.drivers.push(driver_report(driver, &record, chosen, &status.conditions));
            }
        }
        let mut names = config.spec.cpi_vcenters();
        names.extend(config.spec.csi_vcenters());
        let mut listed: Vec<&str> = Vec::new();
        for name in names {
            if !listed.contains(&name) {
                listed.push(name);
            }
        }
        self.vcenters = listed.into_iter().map(|name| vcenter(seen, name)).collect();
        self.nodes = status.nodes.clone();
        self.upgrade = find(&status.conditions, UPGRADEABLE)
            .filter(|it| it.status != Truth::Unknown)
            .map(|it| said(&status.conditions, UPGRADEABLE, it.observed_generation));
        self.conditions = status
            .conditions
            .iter()
            // It is advice, and nothing is wrong.
            .filter(|it| it.type_ != UPGRADEABLE)
            .filter(|it| is_wrong(it) && !self.drivers.iter().any(|driver| driver.says(&it.message)))
            .map(|it| said(&status.conditions, &it.type_, it.observed_generation))
            .collect();
    }
}

fn contenders(configs: &[VDOConfig]) -> Vec<Contender<'_, Option<Timestamp>>> {
    use vdo_api::names::{CPI_FINALIZER, CSI_FINALIZER};
    let contender = |config: &'_ VDOConfig| {
        let meta = &config.metadata;
        let finalizer = meta.finalizers.iter().flatten().any(|f| f == CPI_FINALIZER || f == CSI_FINALIZER);
        (finalizer, meta.creation_timestamp.as_ref().map(|time| time.0))
    };
    configs
        .iter()
        .map(|config| {
            let (finalizer, created) = contender(config);
            Contender { finalizer, created, name: config.metadata.name.as_deref().unwrap_or_default() }
        })
        .collect()
}

/// One line. What is not ready says so itself further down, with names and next step, so its kind is enough here.
fn summary(config: &VDOConfig, ready: &Said) -> String {
    let kind = || match explain::find(&ready.reason) {
        Some(reason) => small(reason.meaning.trim_end_matches('.')),
        None => ready.message.clone(),
    };
    match ready.status {
        _ if config.metadata.deletion_timestamp.is_some() => "Being deleted".to_owned(),
        Truth::True => format!("Ready: {}", ready.message),
        Truth::False => format!("Not ready: {}", kind()),
        Truth::Unknown => format!("Not known to be ready: {}", ready.message),
    }
}

/// A sentence as a clause: its first word small, unless it is a name like CPI.
fn small(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            format!("{}{}", first.to_lowercase(), &sentence[first.len_utf8()..])
        }
        (_, _) => sentence.to_owned(),
    }
}

/// A condition as it must be taken for this generation.
fn said(conditions: &[Condition], type_: &str, generation: i64) -> Said {
    let found = find(conditions, type_);
    let status = truth(conditions, type_, generation);
    let not_seen = &vdo_api::reason::NOT_SEEN_YET;
    match found {
        Some(it) if it.observed_generation == generation => {
            Said { type_: type_.to_owned(), status, reason: it.reason.clone(), message: it.message.clone() }
        }
        found => Said {
            type_: type_.to_owned(),
            status,
            reason: not_seen.name.to_owned(),
            message: match found {
                Some(_) => format!("generation {generation} has not been looked at yet"),
                None => "nothing has been said yet".to_owned(),
            },
        },
    }
}

/// Conditions that have no row of their own.
fn is_wrong(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Ready" | "CPIReady" | "CSIReady" | "NodesInitialised" | "Progressing" => false,
        "Degraded" => condition.status == Truth::True,
        _ => condition.status != Truth::True,
    }
}

fn driver_report(
    driver: Driver,
    record: &DriverRecord,
    chosen: Option<String>,
    conditions: &[Condition],
) -> DriverReport {
    let type_ = match driver {
        Driver::Cpi => "CPIReady",
        Driver::Csi => "CSIReady",
    };
    // Its generation moves only when everything is rolled out, so what it says counts whatever it is.
    let generation = find(conditions, type_).map_or(0, |it| it.observed_generation);
    DriverReport {
        driver,
        installed: record.installed.as_ref().map(|it| it.release.clone()),
        chosen,
        attempt: record.attempt.as_ref().map(|it| AttemptReport {
            verb: it.verb,
            release: it.release.clone(),
            since: it.since.0,
            deadline: it.deadline.0,
        }),
        condition: said(conditions, type_, generation),
    }
}

fn vcenter(seen: &Seen, name: &str) -> VcenterReport {
    let missing = &vdo_plan::vcenter::reasons::VCENTER_CONFIG_MISSING;
    let Some(config) = seen.vcenters.iter().find(|it| it.metadata.name.as_deref() == Some(name)) else {
        return VcenterReport {
            name: name.to_owned(),
            server: String::new(),
            version: None,
            condition: Said {
                type_: "Ready".to_owned(),
                status: Truth::False,
                reason: missing.name.to_owned(),
                message: format!("VsphereCloudConfig {name} does not exist"),
            },
        };
    };
    let generation = config.metadata.generation.unwrap_or_default();
    let status = config.status.clone().unwrap_or_default();
    let ready = said(&status.conditions, "Ready", generation);
    let first_wrong = ["Reachable", "Trusted", "CredentialsValid", "DatacentersFound"]
        .iter()
        .filter(|type_| find(&status.conditions, type_).is_some())
        .map(|type_| said(&status.conditions, type_, generation))
        .find(|it| it.status != Truth::True);
    VcenterReport {
        name: name.to_owned(),
        server: config.spec.server(),
        version: status.verified.as_ref().map(|it| it.version.clone()),
        condition: if ready.status == Truth::True { ready } else { first_wrong.unwrap_or(ready) },
    }
}
