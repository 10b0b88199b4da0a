//! What the drivers have to run with, and where it lies with respect to ranges.

use serde::Serialize;

use crate::range::Range;
use crate::version::{KubernetesVersion, VsphereVersion};

/// What the drivers have to run with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// The API server.
    pub kubernetes: KubernetesVersion,
    /// Every vCenter of the driver, in any order. With none known nothing fits: an unread vCenter is no proof.
    pub vcenters: Vec<Vcenter>,
}

/// One vCenter and its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Vcenter {
    /// The name that the user knows it by.
    pub name: String,
    /// What it runs.
    pub version: VsphereVersion,
    /// What its ESXi hosts run, each version once. Empty where nobody looked: a host that was not read refuses nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<VsphereVersion>,
}

impl Vcenter {
    /// One whose hosts were not read.
    pub fn new(name: impl Into<String>, version: VsphereVersion) -> Self {
        Self { name: name.into(), version, hosts: Vec::new() }
    }
}

/// A cluster made ready for many rows: what is told of it is in one order, however it was listed, and the ends of what
/// it runs are known.
#[derive(Debug)]
pub(crate) struct Survey {
    pub cluster: Cluster,
    /// Of the vCenters.
    pub vsphere: Option<Ends>,
    /// Of the ESXi hosts of all vCenters.
    pub esxi: Option<Ends>,
}

impl Survey {
    pub fn of(cluster: &Cluster) -> Self {
        let mut cluster = cluster.clone();
        for vcenter in &mut cluster.vcenters {
            vcenter.hosts.sort();
            vcenter.hosts.dedup();
        }
        cluster.vcenters.sort();
        let vsphere = Ends::of(cluster.vcenters.iter().map(|vcenter| vcenter.version));
        let esxi = Ends::of(cluster.vcenters.iter().flat_map(|vcenter| vcenter.hosts.iter().copied()));
        Self { cluster, vsphere, esxi }
    }
}

/// The oldest and the newest of some versions. They decide for all between them, because a range has no gaps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    oldest: VsphereVersion,
    newest: VsphereVersion,
}

impl Ends {
    fn of(versions: impl Iterator<Item = VsphereVersion>) -> Option<Self> {
        versions.fold(None, |ends: Option<Self>, version| match ends {
            None => Some(Self { oldest: version, newest: version }),
            Some(Self { oldest, newest }) => {
                Some(Self { oldest: oldest.min(version), newest: newest.max(version) })
            }
        })
    }

    /// Does the range hold all of them?
    pub fn are_in(&self, range: &Range<VsphereVersion>) -> bool {
        range.holds(&self.oldest) && range.holds(&self.newest)
    }

    /// How far the one is from the range that is farthest from it; none where it holds all.
    pub fn gap(&self, range: &Range<VsphereVersion>) -> Option<u64> {
        (!self.are_in(range)).then(|| range.gap(&self.oldest).max(range.gap(&self.newest)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::range::{End, Line};

    fn version() -> impl Strategy<Value = VsphereVersion> {
        (6..10u32, 0..3u32, 0..4u32)
            .prop_map(|(major, minor, update)| VsphereVersion::new(major, minor, update))
    }

    fn end() -> impl Strategy<Value = End<VsphereVersion>> {
        let line = (6..10u32, 0..3u32, 0..4u32, 1..4usize)
            .prop_map(|(major, minor, update, width)| Line::new(&[major, minor, update][..width]));
        prop_oneof![Just(End::Open), line.prop_map(End::At)]
    }

    proptest! {
        #[test]
        fn the_oldest_and_the_newest_decide_as_each_one_would(
            versions in prop::collection::vec(version(), 1..6),
            from in end(),
            to in end(),
        ) {
            let (range, ends) = (Range { from, to }, Ends::of(versions.iter().copied()).unwrap());
            let outside: Vec<_> = versions.iter().filter(|version| !range.holds(version)).collect();
            prop_assert_eq!(ends.are_in(&range), outside.is_empty());
            let farthest = outside.into_iter().map(|version| range.gap(version)).max();
            prop_assert_eq!(ends.gap(&range), farthest);
        }
    }

    #[test]
    fn nothing_is_between_no_versions() {
        assert!(Ends::of(std::iter::empty()).is_none());
    }
}
