//! How far a revision may be applied, and whether it works.

use vdo_api::condition::name_some;
use vdo_plan::driver::{Health, Judge};
use vdo_plan::{Reading, Revision};
use vdo_runtime::rows::{PodRow, Renewal};

use crate::observe::{Observed, Site};
use crate::render::{DAEMON_SET, LEASE};

/// What is known of the driver when a revision is judged.
pub struct Judgement<'a> {
    installed: Option<&'a str>,
    site: &'a Site,
    nodes: Option<&'a vdo_api::status::NodesSummary>,
}

impl<'a> Judgement<'a> {
    /// The judgement of this pass.
    pub fn of(observed: &'a Observed) -> Self {
        let status = observed.scene.config.status.as_ref();
        let record = status.and_then(|s| s.cpi.as_ref()).map(|cpi| &cpi.record);
        Judgement {
            installed: record.and_then(|r| r.installed.as_ref()).map(|installed| installed.revision.as_str()),
            site: &observed.site,
            nodes: status.and_then(|s| s.nodes.as_ref()),
        }
    }
}

impl Judge for Judgement<'_> {
    // The workload needs nothing that the configuration does not bring along.
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, revision: &Revision) -> Health {
        let seen_working = self.installed == Some(revision.key.id.as_str());
        match workload(self.site, &revision.key.id, seen_working) {
            Health::Waits(why) => Health::Waits(why),
            enough => lease(self.site.lease, seen_working)
                .or_else(|| nodes(self.nodes))
                .map_or(enough, Health::Waits),
        }
    }
}

/// A first roll-out needs every pod; what was seen working once needs one that works.
fn workload(site: &Site, revision: &str, seen_working: bool) -> Health {
    let Some(set) = &site.daemon_set else {
        return Health::Waits(format!("DaemonSet {DAEMON_SET} is not there yet"));
    };
    if !set.counts_for(revision, seen_working) {
        return Health::Waits(format!("DaemonSet {DAEMON_SET} is not updated yet"));
    }
    if set.desired == 0 {
        return Health::Waits("no control-plane node is there for it to run on".to_owned());
    }
    if set.is_whole() {
        return Health::Works;
    }
    let counts = format!("{} of {} pods work", set.available.min(set.updated), set.desired);
    let said = match troubles(&site.pods) {
        Some(troubles) => format!("{counts}: {troubles}"),
        None => counts,
    };
    if seen_working && set.available > 0 { Health::Partly(said) } else { Health::Waits(said) }
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

/// What was seen working once may change hands.
fn lease(renewal: Renewal, seen_working: bool) -> Option<String> {
    match renewal {
        Renewal::InTime => None,
        Renewal::Between if seen_working => None,
        Renewal::Between | Renewal::Missed => Some(format!("nobody renews Lease kube-system/{LEASE}")),
    }
}

/// The driver works once one node was initialised. Others that wait are counted in NodesInitialised, and never
/// hold storage.
fn nodes(nodes: Option<&vdo_api::status::NodesSummary>) -> Option<String> {
    let Some(nodes) = nodes else { return Some("vdo-core has not looked at the nodes yet".to_owned()) };
    let ours = nodes.expected - nodes.foreign;
    (ours > 0 && nodes.initialised == 0).then(|| format!("none of {ours} nodes is initialised yet"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_runtime::rows::WorkloadRow;

    fn site(current: bool, available: i32) -> Site {
        let row = WorkloadRow {
            uid: "u".to_owned(),
            desired: available,
            updated: available,
            available,
            current,
            revision: Some("r".to_owned()),
            stuck: false,
        };
        Site { daemon_set: Some(row), pods: Reading::Present(Vec::new()), lease: Renewal::InTime }
    }

    #[test]
    fn a_lease_that_changes_hands_stops_nothing_that_was_seen_working() {
        assert_eq!(lease(Renewal::InTime, false), None);
        assert_eq!(lease(Renewal::Between, true), None);
        assert!(lease(Renewal::Between, false).is_some());
        assert!(lease(Renewal::Missed, true).is_some());
    }

    #[test]
    fn a_spec_that_its_controller_has_not_seen_yet_stops_nothing_that_was_seen_working() {
        assert_eq!(workload(&site(false, 3), "r", true), Health::Works);
        assert!(!workload(&site(false, 3), "r", false).is_enough());
        assert!(!workload(&site(false, 0), "r", true).is_enough());
        assert!(!workload(&site(false, 3), "another", true).is_enough());
    }
}
