//! The choice: one release, or the misfit of every row.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::matrix::{Bounds, Channel, Driver, Matrix, Rendering, Row};
use crate::range::{Line, Range};
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
    /// May a pin go back to an older release?
    pub downgrade: Downgrade,
}

/// May a pin go back to an older release?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub enum Downgrade {
    /// Never.
    #[default]
    Forbid,
    /// If the pin leaves the installed release out.
    Allow,
}

/// A release, or a line of releases, that the user wants and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// This one: `3.7.0`.
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
    /// Never: what is installed stays, also where it no longer fits.
    #[default]
    Stay,
    /// To a newer release of the same line: from 3.7.0 to 3.7.3.
    Patch,
    /// To the newest that fits.
    Latest,
}

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

/// A part of the cluster that lies outside of a range of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outside {
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
        vcenter: String,
        /// What the row asks for.
        needs: Range<VsphereVersion>,
        /// What the vCenter runs.
        runs: VsphereVersion,
    },
    /// An ESXi host.
    Esxi {
        /// The vCenter of the host.
        vcenter: String,
        /// What the row asks for.
        needs: Range<VsphereVersion>,
        /// What the host runs.
        runs: VsphereVersion,
    },
}

impl Outside {
    /// How far away the range is. Only for ranking.
    fn gap(&self) -> u64 {
        match self {
            Self::Kubernetes { needs, runs } => needs.gap(runs),
            Self::Vsphere { needs, runs, .. } | Self::Esxi { needs, runs, .. } => needs.gap(runs),
        }
    }
}

/// What stands in the way of a row. Declared in the order in which it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Why {
    /// A part of the cluster lies outside of a hard bound.
    Outside(Outside),
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

/// Picks a release that the API server and *every* vCenter can run.
///
/// With nothing installed that is the newest that is recommended for the cluster. Where none is, of those that are not
/// refused the one whose recommended ranges come nearest. Something installed stays, and where it does not fit the answer is a hold: it moves if a
/// pin leaves it out or `request` lets it move, and never to an older release unless both a pin and `request` say so.
/// Returns the misfit of every row otherwise, so that a message can say which vCenter stands in the way. An empty
/// matrix chooses nothing.
pub fn select(matrix: &Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> Selection {
    let cluster = &in_order(cluster);
    match choose(matrix, driver, cluster, request) {
        Some(row) => chosen(row, matrix, cluster, request),
        None => no_match(matrix, driver, cluster, request),
    }
}

/// The first thing that stands in the way of installing this row's release, if anything does.
pub fn misfit(row: &Row, cluster: &Cluster, channel: Channel) -> Option<Misfit> {
    let request = Request { channel, ..Request::default() };
    let (why, _) = obstacles(row, &in_order(cluster), &request).next()?;
    Some(Misfit { driver: row.driver, release: row.release, why })
}

/// Sorts the vCenters and their hosts, so that the order in which they were listed shows nowhere.
pub(crate) fn in_order(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    for vcenter in &mut cluster.vcenters {
        vcenter.hosts.sort();
        vcenter.hosts.dedup();
    }
    cluster.vcenters.sort();
    cluster
}

pub(crate) fn choose<'m>(
    matrix: &'m Matrix,
    driver: Driver,
    cluster: &Cluster,
    request: &Request,
) -> Option<&'m Row> {
    let pool = || matrix.rows_of(driver).filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release)));
    let newest = |allowed: &dyn Fn(Release) -> bool| {
        pool()
            .filter(|row| allowed(row.release) && obstacles(row, cluster, request).next().is_none())
            .max_by_key(|row| (Reverse(unrecommended(row, cluster)), row.release))
    };
    let Some(installed) = kept(request) else { return newest(&|_| true) };
    // Marks do not count for what runs already: a release found bad later is reported, not torn out.
    let stays = || pool().find(|row| row.release == installed && unfit(row, cluster).is_none());
    match request.movement {
        Movement::Stay => stays(),
        Movement::Patch => newest(&|release| release.line() == installed.line()).or_else(stays),
        Movement::Latest => newest(&|_| true).or_else(stays),
    }
}

/// How many kinds of things of a cluster lie outside of what a row's release is recommended for, and how far. Of several
/// vCenters or hosts the farthest counts: two of one version are not farther away than one.
pub(crate) fn unrecommended(row: &Row, cluster: &Cluster) -> (usize, u64) {
    let mut farthest: [Option<u64>; 3] = [None; 3];
    for part in outside(row, cluster, Extent::Recommended) {
        let kind = match part {
            Outside::Kubernetes { .. } => 0,
            Outside::Vsphere { .. } => 1,
            Outside::Esxi { .. } => 2,
        };
        farthest[kind] = farthest[kind].max(Some(part.gap()));
    }
    (farthest.iter().flatten().count(), farthest.iter().flatten().sum())
}

/// The first part of a cluster that lies outside of what a row's release is recommended for.
pub fn outside_of_recommended(row: &Row, cluster: &Cluster) -> Option<Outside> {
    outside(row, &in_order(cluster), Extent::Recommended).next()
}

/// Why a row does not fit a cluster, apart from its marks.
fn unfit(row: &Row, cluster: &Cluster) -> Option<Why> {
    let unread = cluster.vcenters.is_empty().then_some(Why::NoVcenterKnown);
    outside(row, cluster, Extent::Hard).next().map(Why::Outside).or(unread)
}

/// The installed release, if nobody asked to leave it.
fn kept(request: &Request) -> Option<Release> {
    request.installed.filter(|installed| request.pin.is_none_or(|pin| pin.allows(*installed)))
}

/// The release below which nothing is chosen.
fn floor(request: &Request) -> Option<Release> {
    match request.downgrade {
        Downgrade::Forbid => request.installed,
        Downgrade::Allow => kept(request),
    }
}

/// Naming one release is asking for it, candidate or not.
fn offered(request: &Request) -> Channel {
    match request.pin {
        Some(Pin::Exact(_)) => Channel::Candidate,
        Some(Pin::Line(_)) | None => request.channel,
    }
}

fn chosen(row: &Row, matrix: &Matrix, cluster: &Cluster, request: &Request) -> Selection {
    let unpinned = Request { pin: None, movement: Movement::Latest, ..*request };
    // What runs is kept in spite of its marks, and may be all that is left: then there is nothing to move to.
    let newer = choose(matrix, row.driver, cluster, &unpinned).filter(|newest| {
        newest.release > row.release
            && unrecommended(newest, cluster) <= unrecommended(row, cluster)
            && obstacles(newest, cluster, &unpinned).next().is_none()
    });
    let left = request.installed.filter(|installed| *installed != row.release);
    let concerned = row.marks.cautions.iter().filter(|caution| {
        caution.kubernetes.holds(&cluster.kubernetes)
            && cluster.vcenters.iter().any(|vcenter| caution.vsphere.holds(&vcenter.version))
            && caution.leaving.is_none_or(|range| left.is_some_and(|release| range.holds(&release)))
    });
    Selection::Chosen(Box::new(Chosen {
        left: left.and_then(|release| misfit_of_installed(matrix, row.driver, release, cluster)),
        chosen_by: if request.pin.is_some() { ChosenBy::Pin } else { ChosenBy::Matrix },
        installed: request.installed,
        newer: newer.map(|newer| newer.release),
        outside: outside(row, cluster, Extent::Recommended).collect(),
        cautions: concerned.map(|caution| caution.text.clone()).collect(),
        row: row.clone(),
    }))
}

/// What is the matter with the installed release on this cluster, apart from its marks.
pub(crate) fn misfit_of_installed(
    matrix: &Matrix,
    driver: Driver,
    release: Release,
    cluster: &Cluster,
) -> Option<Misfit> {
    let why = match matrix.row(driver, release) {
        Some(row) => unfit(row, cluster)?,
        None => Why::NotInMatrix,
    };
    Some(Misfit { driver, release, why })
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
    let stays = kept(request).and_then(|release| misfit_of_installed(matrix, driver, release, cluster));
    let way_out = way_out(matrix, driver, cluster, request);
    let Request { pin, installed, .. } = *request;
    Selection::NoMatch(Box::new(NoMatch { driver, pin, installed, stays, misfits, way_out }))
}

/// Nearer is: fewer obstacles, then less distance, then the newer release.
type Rank = (usize, u64, Reverse<Release>);

fn ranked_misfit(row: &Row, cluster: &Cluster, request: &Request) -> Option<(Rank, Misfit)> {
    let mut first = None;
    let (mut count, mut distance) = (0, 0);
    for (why, gap) in obstacles(row, cluster, request) {
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
    let with = |request: Request| choose(matrix, driver, cluster, &request).map(|row| row.release);
    if let Some(release) = with(Request { movement: Movement::Latest, ..*request }) {
        return WayOut::Move(release);
    }
    let is_candidate =
        |release| matrix.row(driver, release).is_some_and(|row| row.marks.channel > request.channel);
    let asked = |release| match request.installed {
        Some(installed) if release < installed => WayOut::GoBack(release),
        Some(_) | None if is_candidate(release) => WayOut::PinThis(release),
        Some(_) | None => WayOut::Repin(release),
    };
    if let Some(pin) = request.pin {
        if let Some(release) = if_named(matrix, driver, cluster, request, |release| pin.allows(release)) {
            return asked(release);
        }
        if let Some(release) = with(Request { pin: None, ..*request }) {
            return WayOut::Unpin(release);
        }
    }
    if_named(matrix, driver, cluster, request, |_| true).map_or(WayOut::AddRow, asked)
}

/// The release that would be taken if the user named it and let it go back. One that goes forward goes before all others.
fn if_named(
    matrix: &Matrix,
    driver: Driver,
    cluster: &Cluster,
    request: &Request,
    allowed: impl Fn(Release) -> bool,
) -> Option<Release> {
    let named = |row: &&Row| {
        let pin = Some(Pin::Exact(row.release));
        let request = Request { pin, downgrade: Downgrade::Allow, ..*request };
        allowed(row.release) && obstacles(row, cluster, &request).next().is_none()
    };
    let best = matrix.rows_of(driver).filter(named).max_by_key(|row| {
        let forward = request.installed.is_none_or(|installed| row.release >= installed);
        (forward, Reverse(unrecommended(row, cluster)), row.release)
    });
    best.map(|row| row.release)
}

/// Everything that stands in the way of a row, each with its distance, in the order of [`Why`].
pub(crate) fn obstacles(row: &Row, cluster: &Cluster, request: &Request) -> impl Iterator<Item = (Why, u64)> {
    let bad = row.marks.known_bad.as_ref().map(|reason| Why::KnownBad { reason: reason.clone() });
    let unbuilt = match row.rendering {
        Rendering::BuiltIn => None,
        Rendering::Bundle => Some(Why::NotRenderable),
    };
    // Whoever runs a candidate was offered it once.
    let runs = Some(row.release) == request.installed;
    let candidate = (!runs && row.marks.channel > offered(request)).then_some(Why::Candidate);
    let older = floor(request)
        .filter(|installed| row.release < *installed)
        .map(|installed| Why::OlderThanInstalled { installed });
    let stranded = request
        .installed
        .filter(|installed| *installed < row.release && !row.upgrades_from.holds(installed))
        .map(|installed| Why::NotUpgradable { installed, from: row.upgrades_from });
    // An unread vCenter is no proof.
    let unread = cluster.vcenters.is_empty().then_some(Why::NoVcenterKnown);
    let marks = unread.into_iter().chain(bad).chain(unbuilt).chain(candidate).chain(older).chain(stranded);
    let bounds = outside(row, cluster, Extent::Hard).map(|outside| (outside.gap(), outside));
    bounds.map(|(gap, outside)| (Why::Outside(outside), gap)).chain(marks.map(|why| (why, 0)))
}

/// Which ranges of a row count.
#[derive(Clone, Copy)]
enum Extent {
    /// Outside of them the row is refused.
    Hard,
    /// Outside of them the admin is warned.
    Recommended,
}

impl Extent {
    fn of<V: Version>(self, bounds: &Bounds<V>) -> Range<V> {
        match self {
            Self::Hard => bounds.hard.range,
            Self::Recommended => bounds.window().range,
        }
    }
}

/// What of the cluster lies outside of the ranges of a row.
fn outside(row: &Row, cluster: &Cluster, extent: Extent) -> impl Iterator<Item = Outside> {
    let needs = extent.of(&row.kubernetes);
    let runs = cluster.kubernetes;
    let kubernetes = (!needs.holds(&runs)).then_some(Outside::Kubernetes { needs, runs });
    let needs = extent.of(&row.vsphere);
    let vcenters = cluster.vcenters.iter().filter(move |vcenter| !needs.holds(&vcenter.version));
    let vcenters = vcenters.map(move |vcenter| Outside::Vsphere {
        vcenter: vcenter.name.clone(),
        needs,
        runs: vcenter.version,
    });
    let needs = row.esxi.as_ref().map_or(Range::ANY, |bounds| extent.of(bounds));
    let hosts =
        cluster.vcenters.iter().flat_map(|vcenter| vcenter.hosts.iter().map(|host| (&vcenter.name, *host)));
    let hosts = hosts.filter(move |(_, runs)| !needs.holds(runs));
    let hosts = hosts.map(move |(vcenter, runs)| Outside::Esxi { vcenter: vcenter.clone(), needs, runs });
    kubernetes.into_iter().chain(vcenters).chain(hosts)
}

#[cfg(test)]
pub(crate) mod tests;
