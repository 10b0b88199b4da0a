//! How far each node is, and what is wrong with it. Pure: what a node is comes from the functions that the operators
//! judge it by, and what only they can know, as whether there is a machine for it, from the status of the VDOConfig.

pub mod list;
pub mod observe;
pub mod reasons;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use vdo_api::status::NodesSummary;
use vdo_api::{Reason, VDOConfig};
use vdo_core::order::nodes::{Inventory, join};
use vdo_plan::Reading;
use vdo_runtime::node::NodeRow;
use vsphere_client::Uuid;

use crate::explain;

/// What was read.
#[derive(Clone, Debug)]
pub struct SeenNodes {
    /// The nodes.
    pub nodes: Vec<NodeRow>,
    /// On which of them the storage driver is registered.
    pub registered: Reading<BTreeSet<String>>,
    /// The VDOConfig that counts.
    pub config: Reading<VDOConfig>,
}

/// What it comes to: the answer for programs, and what the table is made of.
#[derive(Clone, Debug, Serialize)]
pub struct NodesReport {
    /// Whether nothing is wrong with any node.
    pub ok: bool,
    /// The nodes, by name.
    pub nodes: Vec<NodeReport>,
    /// What is wrong with some of them, and what to do.
    pub findings: Vec<FindingReport>,
    /// What could not be read, and is therefore not said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// Whether it is part of the control plane.
    pub control_plane: bool,
    /// The kind of its provider id.
    pub provider: Provider,
    /// The provider id; absent until a cloud provider wrote one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The UUID that its firmware reports; absent until its kubelet said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<String>,
    /// Its internal addresses.
    pub internal_ips: Vec<String>,
    /// Whether a cloud provider has initialised it.
    pub initialised: bool,
    /// Whether the storage driver is registered; absent if that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi_registered: Option<bool>,
    /// The reasons of what is wrong with it.
    pub findings: Vec<String>,
}

/// The kind of a provider id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Provider {
    /// CPI's, with the UUID of a machine.
    #[serde(rename = "vSphere")]
    Vsphere,
    /// CPI's by its beginning, and no UUID follows.
    #[serde(rename = "malformed")]
    Malformed,
    /// That of another cloud provider.
    #[serde(rename = "foreign")]
    Foreign,
    /// There is none.
    #[serde(rename = "none")]
    None,
}

/// Something that is wrong with some nodes.
#[derive(Clone, Debug, Serialize)]
pub struct FindingReport {
    /// The word for it.
    pub reason: String,
    /// How many nodes have it.
    pub count: i64,
    /// How many of them the status only counts: it names five.
    pub unnamed: i64,
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
}

impl NodesReport {
    /// Sums up what was seen.
    pub fn of(seen: &SeenNodes) -> NodesReport {
        let config = seen.config.present();
        let status = config.and_then(|config| config.status.as_ref());
        let told = status.and_then(|status| status.nodes.clone()).unwrap_or_default();
        let installed = Drivers {
            cpi: config.is_some_and(|config| config.spec.wants_cpi())
                && status.is_some_and(|it| it.cpi.as_ref().is_some_and(|cpi| cpi.record.installed.is_some())),
            csi: status.is_some_and(|it| it.csi.as_ref().is_some_and(|csi| csi.record.installed.is_some())),
        };
        let mut nodes: Vec<NodeReport> =
            seen.nodes.iter().map(|row| node(row, &seen.registered, &told, &installed)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let findings = findings(&nodes, &told);
        let mut unread = Vec::new();
        if let Reading::Unreadable(why) = &seen.config {
            unread.push(format!("the VDOConfig cannot be read: {why}"));
        }
        if let Reading::Unreadable(why) = &seen.registered {
            unread.push(format!("the CSINodes cannot be read: {why}"));
        }
        NodesReport { ok: findings.is_empty(), nodes, findings, unread }
    }
}

/// Which drivers are installed, and wanted.
struct Drivers {
    cpi: bool,
    csi: bool,
}

fn node(
    row: &NodeRow,
    registered: &Reading<BTreeSet<String>>,
    told: &NodesSummary,
    installed: &Drivers,
) -> NodeReport {
    let provider = provider(row);
    let csi_registered = match registered {
        Reading::Present(names) => Some(names.contains(&*row.name)),
        Reading::Absent => Some(false),
        Reading::Unreadable(_) => None,
    };
    // What is known without machines, as vdo-core says it before it has read them.
    let alone = join(std::slice::from_ref(row), &[], Inventory::Partial(None)).summary;
    let initialised = alone.initialised == 1;
    // The causes first: what only the operators know, then what follows from it.
    let named = told.findings.iter().filter(|it| it.names.iter().any(|name| **name == *row.name));
    let mut findings: Vec<&str> = named.map(|it| it.reason.as_str()).collect();
    // What this node says itself is newer than the status.
    findings.retain(|it| !is_seen_here(it));
    findings.extend(alone.findings.iter().map(|it| it.reason.as_str()));
    if installed.cpi && provider == Provider::None && !row.uninitialized {
        findings.push(reasons::PROVIDER_ID_MISSING.name);
    }
    // The driver waits on a node that is not initialised, which is said already.
    if installed.csi && initialised && csi_registered == Some(false) {
        findings.push(reasons::CSI_NOT_REGISTERED.name);
    }
    NodeReport {
        name: row.name.to_string(),
        ready: row.ready,
        control_plane: row.control_plane,
        provider,
        provider_id: row.provider_id.as_deref().map(str::to_owned),
        system_uuid: Some(row.system_uuid.to_string()).filter(|uuid| !uuid.is_empty()),
        internal_ips: row.internal_ips.iter().map(ToString::to_string).collect(),
        initialised,
        csi_registered,
        findings: findings.into_iter().map(str::to_owned).collect(),
    }
}

/// Whether each node says for itself that this is the matter with it.
fn is_seen_here(reason: &str) -> bool {
    reason == vdo_core::reasons::WAITS_FOR_CLOUD_PROVIDER.name
}

fn provider(row: &NodeRow) -> Provider {
    let Some(id) = &row.provider_id else { return Provider::None };
    // Where no machine can be looked for, only the id of another provider makes a node foreign.
    let unidentified = NodeRow { system_uuid: "".into(), ..row.clone() };
    if join(&[unidentified], &[], Inventory::Complete).summary.foreign > 0 {
        return Provider::Foreign;
    }
    match id.rsplit('/').next().and_then(Uuid::parse) {
        Some(_) => Provider::Vsphere,
        None => Provider::Malformed,
    }
}

fn findings(nodes: &[NodeReport], told: &NodesSummary) -> Vec<FindingReport> {
    let mut shown: BTreeMap<&str, i64> = BTreeMap::new();
    for reason in nodes.iter().flat_map(|node| &node.findings) {
        *shown.entry(reason).or_default() += 1;
    }
    let counted: BTreeMap<&str, i64> = told
        .findings
        .iter()
        .filter(|it| !is_seen_here(&it.reason))
        .map(|it| (it.reason.as_str(), it.count - i64::try_from(it.names.len()).unwrap_or_default()))
        .filter(|(_, unnamed)| *unnamed > 0)
        .collect();
    let all: BTreeSet<&str> = shown.keys().chain(counted.keys()).copied().collect();
    let finding = |reason: &str| {
        let known: Option<&Reason> = explain::find(reason);
        let unnamed = counted.get(reason).copied().unwrap_or_default();
        FindingReport {
            reason: reason.to_owned(),
            count: shown.get(reason).copied().unwrap_or_default() + unnamed,
            unnamed,
            meaning: known.map(|it| it.meaning).unwrap_or_default().to_owned(),
            remedy: known.map(|it| it.remedy).unwrap_or_default().to_owned(),
        }
    };
    all.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests;
