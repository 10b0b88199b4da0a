//! What selection answers: a release, or why there is none and what to do.

use serde::Serialize;

use crate::matrix::{Channel, Driver, Row};
use crate::range::Range;
use crate::select::{Downgrade, Pin, Request};
use crate::version::{KubernetesVersion, Release, VsphereVersion};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Selection {
    /// A release that fits.
    Chosen(Box<Chosen>),
    /// Nothing fits. What is installed stays; the caller holds, and never removes.
    NoMatch(Box<NoMatch>),
}

/// A release that fits, and how it came to be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// The row of the release.
    pub row: Row,
    /// Who chose it.
    pub chosen_by: ChosenBy,
    /// What was installed when it was chosen.
    pub installed: Option<Release>,
    /// Why the installed release is left, if it no longer fits.
    pub left: Option<Misfit>,
    /// Why the installed release, chosen again or left, must not be installed any more, if its row says so.
    pub known_bad: Option<String>,
    /// A newer release than the chosen one that could be installed and is no worse for this cluster.
    pub newer: Option<Release>,
    /// Where the cluster lies outside of what the release is recommended for.
    pub outside: Vec<Outside>,
    /// What the row says about clusters like this one.
    pub cautions: Vec<String>,
}

impl Chosen {
    /// The chosen release.
    pub fn release(&self) -> Release {
        self.row.release
    }
}

/// Who chose a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ChosenBy {
    /// The matrix: nothing else was asked for.
    Matrix,
    /// The user, by a pin.
    Pin,
}

impl ChosenBy {
    /// The name shown in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matrix => "Matrix",
            Self::Pin => "Pin",
        }
    }
}

/// Nothing fits, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoMatch {
    /// The driver that was asked for.
    pub driver: Driver,
    /// The pin that narrowed the choice.
    pub pin: Option<Pin>,
    /// What is installed and stays.
    pub installed: Option<Release>,
    /// Why the installed release does not fit, if the pin allows it.
    pub stays: Option<Misfit>,
    /// Why the installed release must not be installed any more, if its row says so.
    pub known_bad: Option<String>,
    /// One for each row that the pin allows and that cannot be installed here, nearest first; and one for the release
    /// that the pin names, if it has no row. A row that only may not be moved to has none.
    pub misfits: Vec<Misfit>,
    /// What the user can do.
    pub way_out: WayOut,
    /// The changes of VDOConfig that do it, each of them by itself. None where no setting helps.
    pub changes: Vec<Change>,
}

/// A row that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// The driver.
    pub driver: Driver,
    /// The release of the row.
    pub release: Release,
    /// The first thing that stands in the way.
    pub why: Why,
}

/// A part of the cluster that lies outside of a range of a row. Its texts are its own, or those of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outside<Text = String> {
    /// The API server.
    Kubernetes {
        /// What the row asks for.
        needs: Range<KubernetesVersion>,
        /// What the cluster runs.
        runs: KubernetesVersion,
    },
    /// A vCenter.
    Vsphere {
        /// Which one.
        vcenter: Text,
        /// What the row asks for.
        needs: Range<VsphereVersion>,
        /// What the vCenter runs.
        runs: VsphereVersion,
    },
    /// An ESXi host.
    Esxi {
        /// The vCenter of the host.
        vcenter: Text,
        /// What the row asks for.
        needs: Range<VsphereVersion>,
        /// What the host runs.
        runs: VsphereVersion,
    },
}

impl<Text> Outside<Text> {
    /// How far away the range is. Only for ranking.
    pub(crate) fn gap(&self) -> u64 {
        match self {
            Self::Kubernetes { needs, runs } => needs.gap(runs),
            Self::Vsphere { needs, runs, .. } | Self::Esxi { needs, runs, .. } => needs.gap(runs),
        }
    }
}

impl From<Outside<&str>> for Outside {
    fn from(outside: Outside<&str>) -> Self {
        match outside {
            Outside::Kubernetes { needs, runs } => Self::Kubernetes { needs, runs },
            Outside::Vsphere { vcenter, needs, runs } => {
                Self::Vsphere { vcenter: vcenter.to_owned(), needs, runs }
            }
            Outside::Esxi { vcenter, needs, runs } => Self::Esxi { vcenter: vcenter.to_owned(), needs, runs },
        }
    }
}

/// What stands in the way of a row. Declared in the order in which it is looked for. Its texts are its own, or those of
/// cluster and row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Why<Text = String> {
    /// A part of the cluster lies outside of a hard bound.
    Outside(Outside<Text>),
    /// The version of no vCenter is known yet.
    NoVcenterKnown,
    /// The release must not be installed any more.
    KnownBad {
        /// Why not.
        reason: Text,
    },
    /// No operator can build the objects of this release.
    NotRenderable,
    /// The release is a candidate, and candidates were not asked for.
    Candidate,
    /// The release is older than the installed one, and going back was not allowed.
    OlderThanInstalled {
        /// The installed release.
        installed: Release,
    },
    /// The release cannot follow the installed one.
    NotUpgradable {
        /// The installed release.
        installed: Release,
        /// The releases that it can follow.
        from: Range<Release>,
    },
    /// The matrix has no row for what the pin names.
    NotInMatrix,
}

impl From<Why<&str>> for Why {
    fn from(why: Why<&str>) -> Self {
        match why {
            Why::Outside(outside) => Self::Outside(outside.into()),
            Why::NoVcenterKnown => Self::NoVcenterKnown,
            Why::KnownBad { reason } => Self::KnownBad { reason: reason.to_owned() },
            Why::NotRenderable => Self::NotRenderable,
            Why::Candidate => Self::Candidate,
            Why::OlderThanInstalled { installed } => Self::OlderThanInstalled { installed },
            Why::NotUpgradable { installed, from } => Self::NotUpgradable { installed, from },
            Why::NotInMatrix => Self::NotInMatrix,
        }
    }
}

/// A change of VDOConfig, for one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Pin this release.
    Pin(Release),
    /// Pin no release.
    Unpin,
    /// Pin this release, and let a pin go back to an older one.
    PinBack(Release),
    /// Let the pin that is there go back to an older release.
    AllowBack,
    /// Offer candidates.
    OfferCandidates,
}

impl Change {
    /// What is asked for once the user has made the change.
    pub fn of(self, request: &Request) -> Request {
        let pin = |release| Some(Pin::Exact(release));
        match self {
            Self::Pin(release) => Request { pin: pin(release), ..*request },
            Self::Unpin => Request { pin: None, ..*request },
            Self::PinBack(release) => Request { pin: pin(release), downgrade: Downgrade::Allow, ..*request },
            Self::AllowBack => Request { downgrade: Downgrade::Allow, ..*request },
            Self::OfferCandidates => Request { channel: Channel::Candidate, ..*request },
        }
    }
}

/// What the user can do when nothing fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WayOut {
    /// Wait until a vCenter was read; the condition of its VsphereCloudConfig says what is wrong.
    ReadVcenters,
    /// Let what is installed move to this release, which fits.
    Move(Release),
    /// Take the pin back: then this release is chosen.
    Unpin(Release),
    /// Pin this release: it fits, but is a candidate.
    PinThis(Release),
    /// Pin this release instead: it fits, and without a pin what is installed would stay.
    Repin(Release),
    /// Go back to this release on purpose: it fits, but is older than the installed one.
    GoBack(Release),
    /// Add a row that covers the cluster, or move the cluster into the bounds of one.
    AddRow,
}
