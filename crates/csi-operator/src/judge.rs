//! Whether a revision works, as far as that can be seen from outside.

use vdo_api::condition::name_some;
use vdo_plan::driver::{Health, Judge};
use vdo_plan::{Reading, Revision};
use vdo_runtime::rows::{PodRow, Renewal, WorkloadRow};

use crate::observe::{Observed, Site};
use crate::stages::{self, Controller, Crd, SYNCER_LEASE, TOPOLOGY_CRD};

/// What is known of the driver when a revision is judged.
pub struct Judgement<'a> {
    installed: Option<&'a str>,
    site: &'a Site,
}

impl<'a> Judgement<'a> {
    /// The judgement of this pass.
    pub fn of(observed: &'a Observed) -> Self {
        let status = observed.scene.config.status.as_ref();
        let record = status.and_then(|s| s.csi.as_ref()).map(|csi| &csi.record);
        Judgement {
            installed: record.and_then(|r| r.installed.as_ref()).map(|installed| installed.revision.as_str()),
            site: &observed.site,
        }
    }

    fn seen_working(&self, revision: &Revision) -> bool {
        self.installed == Some(revision.key.id.as_str())
    }
}

impl Judge for Judgement<'_> {
    fn open_stages(&self, revision: &Revision) -> usize {
        // What was installed once is repaired whole: its nodes do not wait for a controller that is away.
        if self.seen_working(revision) {
            return revision.stages.len();
        }
        let controller = match &self.site.controller {
            Some(row) if row.counts_for(&revision.key.id, false) && row.is_whole() => {
                Reading::Present(Controller::Current)
            }
            Some(_) => Reading::Present(Controller::Behind),
            None => Reading::Absent,
        };
        let seen = stages::Seen {
            controller,
            topology_crd: self.site.topology_crd.clone(),
            syncer_lease: self.site.syncer_lease.clone(),
        };
        stages::open(revision, &seen)
    }

    fn health(&self, revision: &Revision) -> Health {
        let lenient = self.seen_working(revision);
        let parts = [
            workload(
                "Deployment vsphere-csi-controller",
                self.site.controller.as_ref(),
                revision,
                self.site,
                lenient,
            ),
            syncer(self.site, lenient),
            workload("DaemonSet vsphere-csi-node", self.site.node.as_ref(), revision, self.site, lenient),
            registration(self.site, lenient),
        ];
        let mut partly = None;
        for part in parts {
            match part {
                Health::Waits(why) => return Health::Waits(why),
                Health::Partly(what) => partly = partly.or(Some(what)),
                Health::Works => {}
            }
        }
        partly.map_or(Health::Works, Health::Partly)
    }
}

/// A first roll-out needs every pod; what was seen working once needs one that works.
fn workload(
    name: &str,
    row: Option<&WorkloadRow>,
    revision: &Revision,
    site: &Site,
    lenient: bool,
) -> Health {
    let Some(row) = row else { return Health::Waits(format!("{name} is not there yet")) };
    if !row.counts_for(&revision.key.id, lenient) {
        return Health::Waits(format!("{name} is not updated yet"));
    }
    if row.is_whole() {
        return Health::Works;
    }
    let counts = format!("{name}: {} of {} pods work", row.available.min(row.updated), row.desired);
    let said = match troubles(&site.pods) {
        Some(troubles) => format!("{counts}: {troubles}"),
        None => counts,
    };
    if lenient && row.available > 0 { Health::Partly(said) } else { Health::Waits(said) }
}

/// What keeps pods from working, each with its name and its node.
fn troubles(pods: &Reading<Vec<PodRow>>) -> Option<String> {
    let said = |pod: &PodRow| {
        let trouble = pod.trouble.as_ref()?;
        let node = pod.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
        let container = trouble.container.as_deref().map(|name| format!(", {name}")).unwrap_or_default();
        let said = format!("pod {}{node}{container}: {} {}", pod.name, trouble.reason, trouble.message);
        Some(said.trim_end().to_owned())
    };
    let troubles: Vec<String> = pods.present()?.iter().filter_map(said).collect();
    (!troubles.is_empty()).then(|| name_some(&troubles))
}

/// What was seen working once may hand its Lease over.
fn syncer(site: &Site, lenient: bool) -> Health {
    match (&site.topology_crd, &site.syncer_lease) {
        (Reading::Present(Crd::Established), Reading::Present(Renewal::InTime)) => Health::Works,
        (Reading::Present(Crd::Established), Reading::Present(Renewal::Between)) if lenient => Health::Works,
        (Reading::Present(Crd::Established), Reading::Unreadable(why)) => Health::Waits(why.clone()),
        (Reading::Present(Crd::Established), _) => {
            Health::Waits(format!("nobody renews Lease vmware-system-csi/{SYNCER_LEASE}"))
        }
        (_, _) => Health::Waits(format!("the syncer has not created CRD {TOPOLOGY_CRD} yet")),
    }
}

/// A node without a registration mounts no volume.
fn registration(site: &Site, lenient: bool) -> Health {
    match &site.unregistered {
        Reading::Present((_, missing)) if missing.is_empty() => Health::Works,
        Reading::Present((all, missing)) => {
            let said = format!(
                "the driver is registered on {} of {all} nodes; missing: {}",
                all - missing.len(),
                name_some(missing)
            );
            if lenient && missing.len() < *all { Health::Partly(said) } else { Health::Waits(said) }
        }
        Reading::Absent => Health::Waits("no node is there".to_owned()),
        Reading::Unreadable(why) => Health::Waits(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_compat::Driver;

    #[test]
    fn a_spec_that_its_controller_has_not_seen_yet_stops_nothing_that_was_seen_working() {
        let revision =
            Revision::seal(Driver::Csi, "3.7.0".parse().unwrap(), &serde_json::json!({}), Vec::new(), b"k");
        let site = Site {
            controller: None,
            node: None,
            pods: Reading::Present(Vec::new()),
            topology_crd: Reading::Absent,
            syncer_lease: Reading::Absent,
            unregistered: Reading::Absent,
            registered: Reading::Absent,
        };
        let health = |current: bool, available: i32, lenient: bool| {
            let row = WorkloadRow {
                uid: "u".to_owned(),
                desired: available,
                updated: available,
                available,
                current,
                revision: Some(revision.key.id.clone()),
                stuck: false,
            };
            workload("it", Some(&row), &revision, &site, lenient)
        };
        assert_eq!(health(false, 3, true), Health::Works);
        assert!(!health(false, 3, false).is_enough());
        assert!(!health(false, 0, true).is_enough());
    }
}
