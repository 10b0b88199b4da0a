//! Nodes and the machines behind them. Pure, and the same whatever the order of either.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vdo_api::condition::SHOWN;
use vdo_api::status::{NodeFinding, NodesSummary};
use vdo_runtime::node::NodeRow;
use vsphere_client::{ToolsState, Uuid, Vm};

use crate::reasons;

/// The scheme of the provider ids that CPI writes.
const OURS: &str = "vsphere://";

/// Nodes joined with machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// What status shows.
    pub summary: NodesSummary,
    /// How many nodes carry the taint that a cloud provider takes off.
    pub waiting: usize,
    /// Whether some node is Ready with a pod network.
    pub network: bool,
    /// Nodes for which another read of the inventory may help.
    pub unmatched: BTreeSet<String>,
    /// Nodes that say which machine they run in, and it was not found.
    pub strangers: BTreeSet<String>,
}

/// Whether the machines are all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inventory<'a> {
    /// Every vCenter of the VDOConfig was read.
    Complete,
    /// Every one was read, but before these nodes were seen without a machine: theirs may be newer.
    OlderThan(&'a BTreeSet<String>),
    /// Not yet: what was said about machines before stays.
    Partial(Option<&'a NodesSummary>),
}

/// Joins Nodes and machines by the UUID that the firmware reports, in either byte order.
pub fn join(nodes: &[NodeRow], machines: &[&Vm], inventory: Inventory<'_>) -> Joined {
    let mut by_uuid: HashMap<Uuid, &Vm> = HashMap::with_capacity(machines.len());
    for vm in machines {
        if let Some(uuid) = vm.bios_uuid {
            // Two machines with one UUID are a clone gone wrong; the lower id is as good as any, and always the same.
            by_uuid
                .entry(uuid)
                .and_modify(|it| {
                    if vm.id < it.id {
                        *it = vm
                    }
                })
                .or_insert(vm);
        }
    }
    let mut joined = Joined::default();
    let mut findings: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
    for node in nodes {
        let initialised = node.provider_id.is_some() && !node.uninitialized;
        joined.summary.expected += 1;
        joined.summary.initialised += i64::from(initialised);
        joined.waiting += usize::from(node.uninitialized);
        joined.network |= node.ready && !node.network_unavailable;
        if node.uninitialized {
            findings.entry(reasons::WAITS_FOR_CLOUD_PROVIDER.name).or_default().insert(&node.name);
        }
        if matches!(inventory, Inventory::Partial(_)) {
            continue;
        }
        if node.provider_id.as_ref().is_some_and(|id| !id.starts_with(OURS)) {
            joined.summary.foreign += 1;
            continue;
        }
        // A kubelet that has not said yet which machine it runs in proves nothing.
        let Some(uuid) = Uuid::parse(&node.system_uuid) else { continue };
        match by_uuid.get(&uuid).or_else(|| by_uuid.get(&uuid.swapped())) {
            None => {
                joined.unmatched.insert(node.name.to_string());
                joined.strangers.insert(node.name.to_string());
                // A machine that was made after the inventory was read proves nothing: calling its node foreign would
                // roll CPI for each node that joins.
                if matches!(inventory, Inventory::OlderThan(nodes) if nodes.contains(&*node.name)) {
                    continue;
                }
                joined.summary.foreign += 1;
                findings.entry(reasons::VM_NOT_FOUND.name).or_default().insert(&node.name);
            }
            Some(vm) if !initialised => {
                let tools = (vm.tools == ToolsState::NotRunning).then_some(&reasons::TOOLS_NOT_RUNNING);
                let differs = vm.guest_host_name.as_ref().is_some_and(|name| !same_host(name, &node.name));
                let host = differs.then_some(&reasons::HOST_NAME_MISMATCH);
                for reason in tools.into_iter().chain(host) {
                    findings.entry(reason.name).or_default().insert(&node.name);
                    joined.unmatched.insert(node.name.to_string());
                }
            }
            Some(_) => {}
        }
    }
    joined.summary.findings = findings.iter().map(|(reason, names)| finding(reason, names)).collect();
    if let Inventory::Partial(Some(before)) = inventory {
        joined.summary.foreign = before.foreign.min(joined.summary.expected);
        let kept = before.findings.iter().filter(|it| it.reason != reasons::WAITS_FOR_CLOUD_PROVIDER.name);
        joined.summary.findings.extend(kept.cloned());
        joined.summary.findings.sort_by(|a, b| a.reason.cmp(&b.reason));
    }
    joined
}

fn finding(reason: &str, names: &BTreeSet<&str>) -> NodeFinding {
    NodeFinding {
        reason: reason.to_owned(),
        count: i64::try_from(names.len()).unwrap_or(i64::MAX),
        names: names.iter().take(SHOWN).map(|name| (*name).to_owned()).collect(),
    }
}

/// A guest may say its name with or without its domain.
fn same_host(guest: &str, node: &str) -> bool {
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    guest.eq_ignore_ascii_case(node) || first(guest) == first(node)
}

#[cfg(test)]
mod tests;
