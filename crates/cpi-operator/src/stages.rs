//! How far a revision may be applied, and whether it works.

use vdo_api::condition::name_some;
use vdo_plan::driver::{Health, Judge};
use vdo_plan::{Reading, Revision};
use vdo_runtime::rows::PodRow;

use crate::observe::{Observed, Site};
use crate::render::{DAEMON_SET, LEASE};

/// What is known of the driver when a revision is judged.
pub struct Judgement<'a> {
    site: &'a Site,
    nodes: Option<&'a vdo_api::status::NodesSummary>,
}

impl<'a> Judgement<'a> {
    /// The judgement of this pass.
    pub fn of(observed: &'a Observed) -> Self {
        let status = observed.scene.config.status.as_ref();
        Judgement { site: &observed.site, nodes: status.and_then(|s| s.nodes.as_ref()) }
    }
}

impl Judge for Judgement<'_> {
    // The workload needs nothing that the configuration does not bring along.
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, revision: &Revision) -> Health {
        let problem =
            workload(self.site, &revision.key.id).or_else(|| lease(self.site)).or_else(|| nodes(self.nodes));
        problem.map_or(Health::Works, Health::Waits)
    }
}

fn workload(site: &Site, revision: &str) -> Option<String> {
    let Some(set) = &site.daemon_set else { return Some(format!("DaemonSet {DAEMON_SET} is not there yet")) };
    if set.revision.as_deref() != Some(revision) || !set.current {
        return Some(format!("DaemonSet {DAEMON_SET} is not updated yet"));
    }
    if set.desired == 0 {
        return Some("no control-plane node is there for it to run on".to_owned());
    }
    if set.is_rolled_out() {
        return None;
    }
    let counts = format!("{} of {} pods work", set.available.min(set.updated), set.desired);
    Some(match troubles(&site.pods) {
        Some(troubles) => format!("{counts}: {troubles}"),
        None => counts,
    })
}

/// What keeps pods from working, each with its name and its node.
fn troubles(pods: &Reading<Vec<PodRow>>) -> Option<String> {
    let said = |pod: &PodRow| {
        let trouble = pod.trouble.as_ref()?;
        let node = pod.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
        Some(format!("pod {}{node}: {} {}", pod.name, trouble.reason, trouble.message).trim_end().to_owned())
    };
    let troubles: Vec<String> = pods.present()?.iter().filter_map(said).collect();
    (!troubles.is_empty()).then(|| name_some(&troubles))
}

fn lease(site: &Site) -> Option<String> {
    (!site.lease_is_fresh).then(|| format!("nobody renews Lease kube-system/{LEASE} yet"))
}

/// The driver works once one node was initialised. Others that wait are counted in NodesInitialised, and never
/// hold storage.
fn nodes(nodes: Option<&vdo_api::status::NodesSummary>) -> Option<String> {
    let Some(nodes) = nodes else { return Some("vdo-core has not looked at the nodes yet".to_owned()) };
    let ours = nodes.expected - nodes.foreign;
    (ours > 0 && nodes.initialised == 0).then(|| format!("none of {ours} nodes is initialised yet"))
}
