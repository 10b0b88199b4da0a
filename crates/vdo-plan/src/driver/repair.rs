//! What a repair does to the word on the driver: nothing, as long as it may still come out well.
//!
//! A ConfigMap that is missing for one pass, or a workload made anew whose pods nobody has counted yet, says nothing
//! about what serves. A condition that went False and True again at each repair would close the gate of the other
//! driver for nothing. So what was Ready stays Ready for [`GRACE`]; then the driver is judged by what is seen.

use std::time::Duration;

use vdo_compat::Release;

use super::{Health, Restarts, Scene};
use crate::order::{Decision, Progress};

/// How long a repair may take before the driver is judged by what is seen. A DaemonSet of CPI that was deleted with its
/// pods needs most of it: the new pod takes the Lease over when its term of 15 seconds is over.
pub const GRACE: Duration = Duration::from_secs(30);

/// How a repair of what is installed stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// The driver was whole when it was seen last.
    #[default]
    Idle,
    /// It was not, for less than [`GRACE`].
    Fresh,
    /// It was not, for longer.
    Late,
}

/// Whether a repair is under way: something is missing and is put back, or was and does not fully work yet, or pods bear
/// the token of an account that is gone. A driver that fails with all its objects in place is not repaired, and nothing
/// is waited for.
pub(super) fn is_under_way(
    scene: &Scene,
    decision: &Decision<Release, String>,
    installed: Progress,
    health: Option<&Health>,
    restarts: &Restarts,
) -> bool {
    let (before, after) = (&scene.view().records, &decision.record);
    let before = before.of(scene.driver);
    let settled = before.attempt.is_none() && after.attempt.is_none();
    if !settled || after.installed.is_none() || before.installed != after.installed {
        return false;
    }
    let enough = installed == Progress::Healthy;
    installed == Progress::Missing
        || restarts.stale > 0
        || match scene.repair {
            Repair::Idle => false,
            // What is lenient for a while is lenient to the end: else one repair would be told as two changes.
            Repair::Fresh => !(enough && health == Some(&Health::Works)),
            Repair::Late => !enough,
        }
}
