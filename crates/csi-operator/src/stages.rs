//! The stages of a roll-out, and how many of them may be applied now.

use vdo_plan::{Reading, Revision};
use vdo_runtime::rows::Renewal;

/// Accounts, rights, feature states, configuration, the registration of the driver.
pub const CONFIGURATION: &str = "configuration";
/// The controller with its syncer and sidecars.
pub const CONTROLLER: &str = "controller";
/// The plug-in on every node.
pub const NODE: &str = "node";

/// The CRD that the syncer creates and every node plug-in needs to register.
pub const TOPOLOGY_CRD: &str = "csinodetopologies.cns.vmware.com";
/// The Lease that the working syncer holds, in the driver's namespace.
pub const SYNCER_LEASE: &str = "vsphere-syncer";

/// How far the topology CRD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crd {
    /// The API server serves it.
    Established,
    /// It exists, and is not served yet.
    Pending,
}

/// Which revision the controller's pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// All of them run the revision in question.
    Current,
    /// Some are missing, or still run the one before.
    Behind,
}

/// What the stages wait for.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The controller Deployment.
    pub controller: Reading<Controller>,
    /// [`TOPOLOGY_CRD`].
    pub topology_crd: Reading<Crd>,
    /// [`SYNCER_LEASE`].
    pub syncer_lease: Reading<Renewal>,
}

/// How many stages, from the first, may be applied.
///
/// A node plug-in registers only through a CSINodeTopology that a working syncer answers, so it would crash until
/// then; and during an upgrade the nodes follow the controller. What cannot be read counts as not there: waiting
/// harms nothing, and a stage that waits makes no orphan.
pub fn open(revision: &Revision, seen: &Seen) -> usize {
    let node_may_follow = matches!(
        (&seen.controller, &seen.topology_crd, &seen.syncer_lease),
        (
            Reading::Present(Controller::Current),
            Reading::Present(Crd::Established),
            Reading::Present(Renewal::InTime)
        )
    );
    let waits = |name: &str| name == NODE && !node_may_follow;
    revision.stages.iter().take_while(|stage| !waits(&stage.name)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_compat::Driver;
    use vdo_plan::Stage;

    fn revision() -> Revision {
        let stage = |name: &str| Stage { name: name.to_owned(), objects: Vec::new() };
        let stages = [CONFIGURATION, CONTROLLER, NODE].map(stage).into();
        Revision::seal(Driver::Csi, "3.7.0".parse().unwrap(), &serde_json::json!({}), stages, b"k")
    }

    fn working() -> Seen {
        Seen {
            controller: Reading::Present(Controller::Current),
            topology_crd: Reading::Present(Crd::Established),
            syncer_lease: Reading::Present(Renewal::InTime),
        }
    }

    #[test]
    fn a_working_syncer_opens_every_stage() {
        assert_eq!(open(&revision(), &working()), 3);
    }

    #[test]
    fn nodes_wait_for_each_of_the_three() {
        let unreadable = || "forbidden".to_owned();
        for seen in [
            Seen { controller: Reading::Absent, ..working() },
            Seen { controller: Reading::Present(Controller::Behind), ..working() },
            Seen { controller: Reading::Unreadable(unreadable()), ..working() },
            Seen { topology_crd: Reading::Absent, ..working() },
            Seen { topology_crd: Reading::Present(Crd::Pending), ..working() },
            Seen { topology_crd: Reading::Unreadable(unreadable()), ..working() },
            Seen { syncer_lease: Reading::Absent, ..working() },
            Seen { syncer_lease: Reading::Present(Renewal::Between), ..working() },
            Seen { syncer_lease: Reading::Present(Renewal::Missed), ..working() },
            Seen { syncer_lease: Reading::Unreadable(unreadable()), ..working() },
        ] {
            assert_eq!(open(&revision(), &seen), 2, "{seen:?}");
        }
    }
}
