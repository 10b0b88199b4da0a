//! The status of a VDOConfig: one part per operator, each written whole and only by its owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// What the operators say about a VDOConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VDOConfigStatus {
    /// The generation that vdo-core last worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One entry per type. vdo-core: Accepted, CompatibilityResolved, Upgradeable, NodesInitialised, Ready, Progressing, Degraded;
    /// cpi-operator: CPIReady; csi-operator: CSIReady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// vdo-core's choice of releases and its permission to roll them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// How far the nodes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesSummary>,
    /// The cloud provider; written by cpi-operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpi: Option<CpiStatus>,
    /// The storage driver; written by csi-operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiStatus>,
}

/// vdo-core's choice and its permission, in one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Gates {
    /// The generation of the spec that this was decided for.
    pub generation: i64,
    /// The version of the API server.
    #[schemars(length(max = 64))]
    pub kubernetes: String,
    /// Which matrix decided.
    pub matrix: MatrixRef,
    /// The gate of CPI, if it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpi: Option<Gate>,
    /// The gate of CSI, if it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<Gate>,
    /// Whether CSI's row needs a cloud provider, or a node waits for one.
    #[serde(default)]
    pub csi_needs_cpi: Need,
}

/// Whether something is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Need {
    /// It is not.
    NotRequired,
    /// It is; also what an older or unknown answer counts as.
    #[default]
    #[serde(other)]
    Required,
}

/// The matrix that a choice was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatrixRef {
    /// `BuiltIn`, or the object that it came from.
    #[schemars(length(max = 320))]
    pub source: String,
    /// A short digest of its content.
    #[schemars(length(max = 64))]
    pub digest: String,
}

/// The gate of one driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The release chosen; absent when nothing fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub release: Option<String>,
    /// Who chose it.
    #[serde(default)]
    pub chosen_by: ChosenBy,
    /// Whether it may be rolled out now.
    pub verdict: GateVerdict,
    /// Why it is held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why it is held, and what to do, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Who chose a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChosenBy {
    /// The user, by `spec.*.version`.
    Pin,
    /// The compatibility matrix.
    #[default]
    #[serde(other)]
    Matrix,
}

/// Whether a gate lets a roll-out through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateVerdict {
    /// It may start.
    Open,
    /// It must wait; also what an unknown word counts as.
    #[default]
    #[serde(other)]
    Held,
}

/// How far the nodes are, without a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct NodesSummary {
    /// How many nodes there are.
    pub expected: i64,
    /// How many of them a cloud provider has initialised.
    pub initialised: i64,
    /// How many of them are no virtual machine of the listed vCenters.
    #[serde(default)]
    pub foreign: i64,
    /// What is wrong, with a few names each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub findings: Vec<NodeFinding>,
}

/// Something that is wrong with some nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFinding {
    /// What it is.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// How many nodes have it.
    pub count: i64,
    /// Up to five of them.
    #[serde(default)]
    #[schemars(length(max = 5), inner(length(max = 253)))]
    pub names: Vec<String>,
}

/// The phase of a driver, as the original named them. Conditions say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Phase {
    /// Being rolled out.
    Deploying,
    /// Rolled out; not yet seen working.
    Deployed,
    /// Waiting for something before it can be rolled out.
    Configuring,
    /// Installed and working.
    Configured,
    /// Something is wrong; see `statusMsg`.
    Failed,
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(from)?.as_str() {
            "Deploying" => Phase::Deploying,
            "Deployed" => Phase::Deployed,
            "Configuring" => Phase::Configuring,
            "Configured" => Phase::Configured,
            _ => Phase::Failed,
        })
    }
}

/// What is recorded of one driver; the same for both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverRecord {
    /// The generation that the operator last looked at, whatever came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The original's phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The original's message for the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub status_msg: Option<String>,
    /// What is fully applied and was seen healthy. Survives a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
    /// What is being rolled out or removed: the claim. Absent when idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// What was rolled back and is not tried again before something changes; at most one of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub refused: Vec<Refused>,
}

/// The cloud provider's part of the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpiStatus {
    /// What is recorded of it.
    #[serde(flatten)]
    pub record: DriverRecord,
    /// Written by the original operator, whose key ends with a space. Read, kept, never written.
    #[serde(rename = "nodeStatus ", default, skip_serializing)]
    pub node_status: BTreeMap<String, String>,
}

/// The storage driver's part of the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsiStatus {
    /// What is recorded of it.
    #[serde(flatten)]
    pub record: DriverRecord,
    /// The id under which this cluster's volumes are known to vCenter. Never changes.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_id: Option<String>,
}

/// A revision that is fully applied and was seen healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Installed {
    /// Its release.
    #[schemars(length(max = 64))]
    pub release: String,
    /// Its revision: the release with everything rendered.
    #[schemars(length(max = 64))]
    pub revision: String,
    /// Since when.
    pub since: Time,
}

/// The claim of an operator on a roll-out or a removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Attempt {
    /// What is being done.
    pub verb: Verb,
    /// The release being rolled out; absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub release: Option<String>,
    /// The revision being rolled out; absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub revision: Option<String>,
    /// The generation of the spec that it was claimed for.
    pub generation: i64,
    /// The pod that claimed it; for people only.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub holder: String,
    /// Since when.
    pub since: Time,
    /// When it is given up.
    pub deadline: Time,
    /// What was missing when it was given up; kept while the revision before it is brought back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub failure: String,
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Rolling a revision out.
    Roll,
    /// Removing the driver.
    Remove,
}

/// A revision that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Whether the release or the configuration was new.
    pub kind: RefusedKind,
    /// Its release.
    #[schemars(length(max = 64))]
    pub release: String,
    /// Its revision.
    #[schemars(length(max = 64))]
    pub revision: String,
    /// The generation that it was refused for; a new one is a new try.
    pub generation: i64,
    /// Why.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in words.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The value of the annotation `vdo.vmware.com/retry-rollout` then; another one is a new try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub retry: Option<String>,
    /// When.
    pub since: Time,
}

/// What was new in a revision that was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefusedKind {
    /// Its release.
    Release,
    /// Its configuration.
    Configuration,
}
