//! Pods whose token is of an account that is gone.
//!
//! The token in a pod is bound to the UID of its ServiceAccount. Once somebody deleted the account and VDO put it back,
//! the API server refuses that token until the kubelet asks for another, after most of an hour: a driver renews no Lease
//! until then, and nothing else starts it again. So its pods are deleted, and their controllers make new ones.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vdo_api::vdoconfig::DriftRepair;
use vdo_compat::Release;

use super::Scene;
use crate::order::{Decision, Progress, Step};

/// How much older than its account a pod must be. Two API servers may write the times of both.
const BEYOND_DOUBT: Duration = Duration::from_secs(5);
/// After this time every kubelet has asked for another token: it lives for an hour, and is asked for before.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The pods that bear the token of one account. A driver lists them in the order in which they may be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearers {
    /// The name of the ServiceAccount.
    pub account: &'static str,
    /// When it was created; `None` while it is not there, or not known.
    pub made: Option<Timestamp>,
    /// How many may be away at once.
    pub at_once: usize,
    /// The pods.
    pub pods: Vec<Bearer>,
}

/// A pod, as far as its account is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its name.
    pub name: Arc<str>,
    /// Its UID, so that its successor of the same name is never deleted.
    pub uid: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub ending: bool,
}

/// The pods that a pass restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// The account that was made anew, with the time; `None` if no pod is older than its account.
    pub account: Option<(&'static str, Timestamp)>,
    /// How many pods are older than it, these included.
    pub stale: usize,
    /// Those to delete now.
    pub now: Vec<Bearer>,
}

/// Which kind of controller made a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// A DaemonSet of this name.
    DaemonSet(&'static str),
    /// A Deployment of this name.
    Deployment(&'static str),
}

impl MadeBy {
    /// Whether a pod in the namespace of the driver, which is ours, has a name that this controller gives.
    pub fn is_maker_of(self, pod: &str) -> bool {
        let (controller, more) = match self {
            MadeBy::DaemonSet(name) => (name, 1),
            MadeBy::Deployment(name) => (name, 2),
        };
        let rest = pod.strip_prefix(controller).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.split('-').filter(|part| !part.is_empty()).count() == more)
    }
}

impl Bearers {
    fn is_stale(&self, pod: &Bearer, now: Timestamp) -> bool {
        let Some(made) = self.made else { return false };
        let after = |time: Timestamp, more: Duration| time.saturating_add(more).unwrap_or(Timestamp::MAX);
        !pod.ending && after(pod.created, BEYOND_DOUBT) <= made && now < after(made, TOKEN_LIFE)
    }
}

/// The pods to restart in this pass: none while anything else is to be done, or while the user wants drift to stay.
pub(super) fn restarts(
    scene: &Scene,
    decision: &Decision<Release, String>,
    installed: Progress,
    quiet: bool,
) -> Restarts {
    let record = &decision.record;
    let whole = matches!(installed, Progress::Applied | Progress::Healthy);
    let calm = decision.step == Step::Nothing && record.installed.is_some() && record.attempt.is_none();
    if quiet || !whole || !calm || scene.config.spec.drift_repair == DriftRepair::Report {
        return Restarts::default();
    }
    for group in &scene.bearers {
        let stale: Vec<&Bearer> = group.pods.iter().filter(|pod| group.is_stale(pod, scene.now)).collect();
        let fresh = || group.pods.iter().filter(|pod| !group.is_stale(pod, scene.now));
        if let (Some(made), false) = (group.made, stale.is_empty()) {
            let away = fresh().filter(|pod| pod.ending || !pod.ready).count();
            let mut now: Vec<Bearer> = stale.iter().map(|&pod| pod.clone()).collect();
            // The same ones again until the watch shows that they go: else more than so many would be away.
            // Those of nodes that are off come last: there they stay away, and would hold up the others.
            now.sort_by(|one, other| (!one.ready, &one.name).cmp(&(!other.ready, &other.name)));
            now.truncate(group.at_once.saturating_sub(away));
            return Restarts { account: Some((group.account, made)), stale: stale.len(), now };
        }
        // The next ones need these: a plug-in registers with the help of the controller.
        if !fresh().any(|pod| pod.ready && !pod.ending) && !group.pods.is_empty() {
            break;
        }
    }
    Restarts::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_by_the_name_that_its_controller_gives() {
        let set = MadeBy::DaemonSet("vsphere-csi-node");
        assert!(set.is_maker_of("vsphere-csi-node-x7k2p"));
        for other in [
            "vsphere-csi-node",
            "vsphere-csi-node-windows-x7k2p",
            "vsphere-csi-nodes-x7k2p",
            "vsphere-csi-node-",
        ] {
            assert!(!set.is_maker_of(other), "{other}");
        }
        let deployment = MadeBy::Deployment("vsphere-csi-controller");
        assert!(deployment.is_maker_of("vsphere-csi-controller-6d5f8c9b7d-x7k2p"));
        assert!(!deployment.is_maker_of("vsphere-csi-controller-x7k2p"));
    }
}
