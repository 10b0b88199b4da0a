//! What a repair does to the word on the driver: nothing, as long as it may still come out well.
//!
//! A ConfigMap that is missing for one pass, or a workload made anew whose pods nobody has counted yet, says nothing
//! about what serves. A condition that went False and True again at each repair would close the gate of the other
//! driver for nothing. So what was Ready stays Ready for [`GRACE`]; then the driver is judged by what is seen.

use std::time::Duration;

use vdo_compat::Release;

use super::{Restarts, Scene};
use crate::order::{Decision, Progress};

/// How long a repair may take before the driver is judged by what is seen. A DaemonSet of CPI that was deleted with its
/// pods needs most of it: the new pod takes the Lease over when its term of 15 seconds is over.
pub const GRACE: Duration = Duration::from_secs(30);

/// How a repair of what is installed stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// None is under way.
    #[default]
    Idle,
    /// It began less than [`GRACE`] ago.
    Fresh,
    /// It began before that, and the driver was not seen whole since.
    Late,
}

/// Whether a repair is under way: something is missing and is put back, or was a moment ago, or does not work since; or
/// pods bear the token of an account that is gone. A driver that fails with all its objects in place is not repaired, and nothing
/// is waited for.
pub(super) fn is_under_way(
    scene: &Scene,
    decision: &Decision<Release, String>,
    installed: Progress,
    restarts: &Restarts,
) -> bool {
    let (before, after) = (&scene.view().records, &decision.record);
    let before = before.of(scene.driver);
    let settled = before.attempt.is_none() && after.attempt.is_none();
    if !settled || after.installed.is_none() || before.installed != after.installed {
        return false;
    }
    installed == Progress::Missing
        || restarts.stale > 0
        || match scene.repair {
            Repair::Idle => false,
            // Also while it works: the numbers may be of a moment before, and the pod that the edit cost goes only now.
            Repair::Fresh => true,
            Repair::Late => installed != Progress::Healthy,
        }
}
