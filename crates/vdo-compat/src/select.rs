//! The choice: one release, or the misfit of every row.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::matrix::{Channel, Driver, Matrix, Rendering, Row};
use crate::range::{Line, Place, Range};
use crate::version::{KubernetesVersion, Release, Version, VersionError, VsphereVersion};

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
}

/// What the user asked for, and what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// The release, or line of releases, that the user wants and no other.
    pub pin: Option<Pin>,
    /// The release that is fully installed.
    pub installed: Option<Release>,
    /// May something installed move by itself?
    pub movement: Movement,
    /// Which rows are offered.
    pub channel: Channel,
}

/// A release, or a line of releases, that the user wants and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// This one: `3.7.0`. May be older than the installed one.
    Exact(Release),
    /// The newest that fits of these: `3.7`. Never goes back within the line.
    Line(Line<Release>),
}

impl Pin {
    /// Does the pin allow this release?
    pub fn allows(&self, release: Release) -> bool {
        match self {
            Self::Exact(exact) => *exact == release,
            Self::Line(line) => line.holds(&release),
        }
    }
}

impl From<Release> for Pin {
    fn from(release: Release) -> Self {
        Self::Exact(release)
    }
}

impl FromStr for Pin {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        match Release::read(text)? {
            (release, 3..) => Ok(Self::Exact(release)),
            (_, _) => text.parse().map(Self::Line),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(release) => release.fmt(f),
            Self::Line(line) => line.fmt(f),
        }
    }
}

impl Serialize for Pin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// May something installed move to a newer release by itself?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub enum Movement {
    /// Only when it no longer fits.
    #[default]
    Stay,
    /// Whenever a newer one fits.
    Newest,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Selection {
    /// A release that fits.
    Chosen(Box<Chosen>),
    /// Nothing fits. What is installed stays; the caller holds, and never removes.
    NoMatch(NoMatch),
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
    /// The newest release that would fit too, if it is newer than the chosen one.
    pub newer: Option<Release>,
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
    /// One for each row that the pin leaves (and one for what it names, if there is no such row), nearest first.
    pub misfits: Vec<Misfit>,
    /// What the user can do.
    pub way_out: WayOut,
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

/// What stands in the way of a row. Declared in the order in which it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Why {
    /// The API server is older than the row's lower bound.
    KubernetesBelow {
        /// What the row needs.
        needs: Range<KubernetesVersion>,
        /// What the cluster runs.
        runs: KubernetesVersion,
    },
    /// The API server is newer than the row's upper bound.
    KubernetesAbove {
        /// What the row needs.
        needs: Range<KubernetesVersion>,
        /// What the cluster runs.
        runs: KubernetesVersion,
    },
    /// A vCenter is older than the row's lower bound.
    VsphereBelow {
        /// The vCenter.
        vcenter: String,
        /// What the row needs.
        needs: Range<VsphereVersion>,
        /// What the vCenter runs.
        runs: VsphereVersion,
    },
    /// A vCenter is newer than the row's upper bound.
    VsphereAbove {
        /// The vCenter.
        vcenter: String,
        /// What the row needs.
        needs: Range<VsphereVersion>,
        /// What the vCenter runs.
        runs: VsphereVersion,
    },
    /// The version of no vCenter is known yet.
    NoVcenterKnown,
    /// The release must not be installed any more.
    KnownBad {
        /// Why not.
        reason: String,
    },
    /// No operator can build the objects of this release.
    NotRenderable,
    /// The release is a candidate, and candidates were not asked for.
    Candidate,
    /// The release is older than the installed one, and no pin names it.
    OlderThanInstalled {
        /// The installed release.
        installed: Release,
    },
    /// The matrix has no row for what the pin names.
    NotInMatrix,
}

/// What the user can do when nothing fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WayOut {
    /// Wait until a vCenter was read; the condition of its VsphereCloudConfig says what is wrong.
    ReadVcenters,
    /// Take the pin back: then this release is chosen.
    Unpin(Release),
    /// Pin this release: it fits, but is a candidate, or older than the installed one.
    PinThis(Release),
    /// Add a row that covers the cluster, or move the cluster into the bounds of one.
    AddRow,
}

/// Picks the newest release that the API server and *every* vCenter can run.
///
/// Something installed stays while it fits, unless `request` lets it move. When it no longer fits, the newest
/// fitting release that is not older takes its place; an older one only if a pin names it. Returns the misfit of
/// every row otherwise, so that a message can say which vCenter stands in the way. An empty matrix chooses
/// nothing.
pub fn select(matrix: &Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> Selection {
    let cluster = &in_order(cluster);
    match choose(matrix, driver, cluster, request) {
        Some(row) => chosen(row, matrix, cluster, request),
        None => no_match(matrix, driver, cluster, request),
    }
}

/// The first thing that stands in the way of installing this row's release, if anything does.
pub fn misfit(row: &Row, cluster: &Cluster, channel: Channel) -> Option<Misfit> {
    let (why, _) = obstacles(row, &in_order(cluster), channel, None).next()?;
    Some(Misfit { driver: row.driver, release: row.release, why })
}

/// Sorts the vCenters, so that the order in which they were listed shows nowhere.
fn in_order(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.vcenters.sort();
    cluster
}

fn choose<'m>(matrix: &'m Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> Option<&'m Row> {
    let floor = floor(request);
    let pool = || matrix.rows_of(driver).filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release)));
    // Marks do not count for what runs already: a release found bad later is reported, not torn out.
    let stays = || pool().find(|row| Some(row.release) == floor && outside(row, cluster).next().is_none());
    let newest = || {
        pool()
            .filter(|row| obstacles(row, cluster, offered(request), floor).next().is_none())
            .max_by_key(|row| row.release)
    };
    match request.movement {
        Movement::Stay => stays().or_else(newest),
        Movement::Newest => newest().or_else(stays),
    }
}

/// The release below which nothing is chosen. A pin that leaves the installed release out lifts it: that is what
/// going back on purpose looks like.
fn floor(request: &Request) -> Option<Release> {
    request.installed.filter(|installed| request.pin.is_none_or(|pin| pin.allows(*installed)))
}

/// Naming one release is asking for it, candidate or not.
fn offered(request: &Request) -> Channel {
    match request.pin {
        Some(Pin::Exact(_)) => Channel::Candidate,
        Some(Pin::Line(_)) | None => request.channel,
    }
}

fn chosen(row: &Row, matrix: &Matrix, cluster: &Cluster, request: &Request) -> Selection {
    let unpinned = Request { pin: None, movement: Movement::Newest, ..*request };
    let newest = choose(matrix, row.driver, cluster, &unpinned).map(|newest| newest.release);
    let concerned = row.marks.cautions.iter().filter(|caution| {
        caution.kubernetes.holds(&cluster.kubernetes)
            && cluster.vcenters.iter().any(|vcenter| caution.vsphere.holds(&vcenter.version))
    });
    let left = request.installed.filter(|installed| *installed != row.release).and_then(|release| {
        let why = match matrix.row(row.driver, release) {
            Some(installed) => outside(installed, cluster).next()?.0,
            None => Why::NotInMatrix,
        };
        Some(Misfit { driver: row.driver, release, why })
    });
    Selection::Chosen(Box::new(Chosen {
        left,
        chosen_by: if request.pin.is_some() { ChosenBy::Pin } else { ChosenBy::Matrix },
        installed: request.installed,
        newer: newest.filter(|newest| *newest > row.release),
        cautions: concerned.map(|caution| caution.text.clone()).collect(),
        row: row.clone(),
    }))
}

fn no_match(matrix: &Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> Selection {
    let mut ranked: Vec<_> = matrix
        .rows_of(driver)
        .filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release)))
        .filter_map(|row| ranked_misfit(row, cluster, request))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut misfits: Vec<_> = ranked.into_iter().map(|(_, misfit)| misfit).collect();
    if let Some(Pin::Exact(release)) = request.pin
        && misfits.is_empty()
    {
        misfits.push(Misfit { driver, release, why: Why::NotInMatrix });
    }
    let way_out = way_out(matrix, driver, cluster, request);
    Selection::NoMatch(NoMatch { driver, pin: request.pin, installed: request.installed, misfits, way_out })
}

/// Nearer is: fewer obstacles, then less distance, then the newer release.
type Rank = (usize, u64, Reverse<Release>);

fn ranked_misfit(row: &Row, cluster: &Cluster, request: &Request) -> Option<(Rank, Misfit)> {
    let mut first = None;
    let (mut count, mut distance) = (0, 0);
    for (why, gap) in obstacles(row, cluster, offered(request), floor(request)) {
        count += 1;
        distance += gap;
        first.get_or_insert(why);
    }
    let misfit = Misfit { driver: row.driver, release: row.release, why: first? };
    Some(((count, distance, Reverse(row.release)), misfit))
}

fn way_out(matrix: &Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> WayOut {
    if cluster.vcenters.is_empty() {
        return WayOut::ReadVcenters;
    }
    let unpinned = Request { pin: None, ..*request };
    if request.pin.is_some()
        && let Some(row) = choose(matrix, driver, cluster, &unpinned)
    {
        return WayOut::Unpin(row.release);
    }
    let by_name = matrix
        .rows_of(driver)
        .filter(|row| obstacles(row, cluster, Channel::Candidate, None).next().is_none())
        .max_by_key(|row| row.release);
    by_name.map_or(WayOut::AddRow, |row| WayOut::PinThis(row.release))
}

/// Everything that stands in the way of a row, each with its distance, in the order of [`Why`].
fn obstacles(
    row: &Row,
    cluster: &Cluster,
    channel: Channel,
    floor: Option<Release>,
) -> impl Iterator<Item = (Why, u64)> {
    let bad = row.marks.known_bad.as_ref().map(|reason| Why::KnownBad { reason: reason.clone() });
    let unbuilt = match row.rendering {
        Rendering::BuiltIn => None,
        Rendering::Bundle => Some(Why::NotRenderable),
    };
    let candidate = (row.marks.channel > channel).then_some(Why::Candidate);
    let older = floor
        .filter(|installed| row.release < *installed)
        .map(|installed| Why::OlderThanInstalled { installed });
    let marks = bad.into_iter().chain(unbuilt).chain(candidate).chain(older);
    outside(row, cluster).chain(marks.map(|why| (why, 0)))
}

/// The bounds of a row that the cluster lies outside of, each with its distance.
fn outside(row: &Row, cluster: &Cluster) -> impl Iterator<Item = (Why, u64)> {
    let needs = row.vsphere;
    let vcenters = cluster.vcenters.iter().filter_map(move |Vcenter { name, version }| {
        let runs = *version;
        let why = match needs.place(version) {
            Place::Within => return None,
            Place::Below(_) => Why::VsphereBelow { vcenter: name.clone(), needs, runs },
            Place::Above(_) => Why::VsphereAbove { vcenter: name.clone(), needs, runs },
        };
        Some((why, needs.gap(version)))
    });
    let unread = cluster.vcenters.is_empty().then_some((Why::NoVcenterKnown, 0));
    outside_kubernetes(row.kubernetes, cluster.kubernetes).into_iter().chain(vcenters).chain(unread)
}

fn outside_kubernetes(needs: Range<KubernetesVersion>, runs: KubernetesVersion) -> Option<(Why, u64)> {
    let why = match needs.place(&runs) {
        Place::Within => return None,
        Place::Below(_) => Why::KubernetesBelow { needs, runs },
        Place::Above(_) => Why::KubernetesAbove { needs, runs },
    };
    Some((why, needs.gap(&runs)))
}

#[cfg(test)]
pub(crate) mod tests;
