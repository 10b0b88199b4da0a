//! The active VDOConfig: which releases, who may roll out what now, and how everything stands.

pub mod choose;
pub mod gates;
pub mod matrix;
pub mod nodes;
pub mod sum;

use vdo_api::VDOConfig;
use vdo_api::status::{Gates, NodesSummary};
use vdo_api::{Condition, Truth, VDOConfigStatus};
use vdo_runtime::words::News;

/// The types of the conditions that vdo-core writes.
pub const CONDITIONS: [&str; 7] = [
    "Accepted",
    "CompatibilityResolved",
    "Upgradeable",
    NODES_INITIALISED,
    "Ready",
    "Progressing",
    "Degraded",
];
/// The condition that counts nodes.
const NODES_INITIALISED: &str = "NodesInitialised";

/// vdo-core's part of the status of a VDOConfig, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The generation that it speaks of.
    pub observed_generation: Option<i64>,
    /// Our conditions.
    pub conditions: Vec<Condition>,
    /// The choice and the permission.
    pub gates: Option<Gates>,
    /// How far the nodes are.
    pub nodes: Option<NodesSummary>,
}

impl Part {
    /// What is stored.
    pub fn stored(config: &VDOConfig) -> Self {
        let status = config.status.clone().unwrap_or_default();
        Part {
            observed_generation: status.observed_generation,
            conditions: status
                .conditions
                .into_iter()
                .filter(|it| CONDITIONS.contains(&it.type_.as_str()))
                .collect(),
            gates: status.gates,
            nodes: status.nodes,
        }
    }

    /// The value of the field `status`.
    pub fn value(&self) -> serde_json::Value {
        let status = VDOConfigStatus {
            observed_generation: self.observed_generation,
            conditions: self.conditions.clone(),
            gates: self.gates.clone(),
            nodes: self.nodes.clone(),
            cpi: None,
            csi: None,
        };
        serde_json::to_value(status).expect("a status is a JSON object")
    }

    /// How much this differs from what is stored, if at all.
    pub fn news(&self, stored: &Part) -> Option<News> {
        let sorted = |part: &Part| {
            let mut conditions = part.conditions.clone();
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
            conditions
        };
        let (new, old) = (sorted(self), sorted(stored));
        let facts = |conditions: &[Condition]| -> Vec<_> {
            let fact = |it: &Condition| {
                // While nodes come and go it turns with each of them, and nobody decides on that.
                let counts = it.type_ == NODES_INITIALISED && it.status != Truth::Unknown;
                let said = (!counts).then(|| (it.status, it.reason.clone()));
                (it.type_.clone(), it.observed_generation, said)
            };
            conditions.iter().map(fact).collect()
        };
        if facts(&new) != facts(&old)
            || self.gates != stored.gates
            || self.observed_generation != stored.observed_generation
            || milestone(self.nodes.as_ref()) != milestone(stored.nodes.as_ref())
        {
            return Some(News::Facts);
        }
        (new != old || self.nodes != stored.nodes).then_some(News::Words)
    }
}

/// The first initialised node is worth a write of its own: CPI works.
fn milestone(nodes: Option<&NodesSummary>) -> Option<bool> {
    nodes.map(|nodes| nodes.initialised > 0)
}

#[cfg(test)]
mod tests;
