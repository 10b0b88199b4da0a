//! The choice: one release, or the misfit of every row.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::answer::{Change, Chosen, ChosenBy, Misfit, NoMatch, Outside, Selection, WayOut, Why};
use crate::cluster::{Cluster, Survey};
use crate::matrix::{Bounds, Channel, Driver, Matrix, Rendering, Row};
use crate::range::{Line, Range};
use crate::version::{Release, Version, VersionError};

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
    /// One of these: `3.7`. Where none of them is installed it is the newest that fits. One that is stays, unless a
    /// [`Movement`] lets it go forward; it never goes back within the line.
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
        match Release::read_strictly(text)? {
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

/// Picks a release that the API server and *every* vCenter can run.
///
/// With nothing installed that is the newest that is recommended for the cluster. Where none is, of those that are not
/// refused the one whose recommended ranges come nearest. Something installed stays, and where it does not fit the answer is a hold: it moves if a
/// pin leaves it out or `request` lets it move, and never to an older release unless both a pin and `request` say so.
/// Returns the misfit of every row otherwise, so that a message can say which vCenter stands in the way. An empty
/// matrix chooses nothing.
pub fn select(matrix: &Matrix, driver: Driver, cluster: &Cluster, request: &Request) -> Selection {
    let survey = &Survey::of(cluster);
    match choose(matrix, driver, survey, request) {
        Some(row) => chosen(row, matrix, survey, request),
        None => no_match(matrix, driver, survey, request),
    }
}

/// The first thing that stands in the way of installing this row's release, if anything does.
pub fn misfit(row: &Row, cluster: &Cluster, channel: Channel) -> Option<Misfit> {
    let request = Request { channel, ..Request::default() };
    first_misfit(row, &Survey::of(cluster), &request)
}

pub(crate) fn choose<'m>(
    matrix: &'m Matrix,
    driver: Driver,
    survey: &Survey,
    request: &Request,
) -> Option<&'m Row> {
    let pool = || matrix.rows_of(driver).filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release)));
    let newest = |allowed: &dyn Fn(Release) -> bool| {
        pool()
            .filter(|row| allowed(row.release) && may_install(row, survey, request))
            .max_by_key(|row| (Reverse(unrecommended(row, survey)), row.release))
    };
    let Some(installed) = kept(request) else { return newest(&|_| true) };
    // Marks do not count for what runs already: a release found bad later is reported, not torn out.
    let stays = || pool().find(|row| row.release == installed && fits(row, survey));
    match request.movement {
        Movement::Stay => stays(),
        Movement::Patch => newest(&|release| release.line() == installed.line()).or_else(stays),
        Movement::Latest => newest(&|_| true).or_else(stays),
    }
}

/// How many kinds of things of a cluster lie outside of what a row's release is recommended for, and how far. Of several
/// vCenters or hosts the farthest counts: two of one version are not farther away than one.
pub(crate) fn unrecommended(row: &Row, survey: &Survey) -> (usize, u64) {
    let (window, runs) = (row.kubernetes.window().range, &survey.cluster.kubernetes);
    let hosts = row.esxi.as_ref().zip(survey.esxi);
    let gaps = [
        (!window.holds(runs)).then(|| window.gap(runs)),
        survey.vsphere.and_then(|ends| ends.gap(&row.vsphere.window().range)),
        hosts.and_then(|(bounds, ends)| ends.gap(&bounds.window().range)),
    ];
    (gaps.iter().flatten().count(), gaps.iter().flatten().sum())
}

/// The first part of a cluster that lies outside of what a row's release is recommended for.
pub fn outside_of_recommended(row: &Row, cluster: &Cluster) -> Option<Outside> {
    outside(row, &Survey::of(cluster).cluster, Extent::Recommended).next().map(Outside::from)
}

/// Whether nothing stands in the way of installing a row's release. What [`obstacles`] would find, without looking at
/// each vCenter and host.
pub(crate) fn may_install(row: &Row, survey: &Survey, request: &Request) -> bool {
    fits(row, survey) && marks(row, request).next().is_none()
}

/// Whether a row's release runs on a cluster, whatever its marks say.
fn fits(row: &Row, survey: &Survey) -> bool {
    let hosts = row.esxi.as_ref().zip(survey.esxi);
    row.kubernetes.hard.range.holds(&survey.cluster.kubernetes)
        && survey.vsphere.is_some_and(|ends| ends.are_in(&row.vsphere.hard.range))
        && hosts.is_none_or(|(bounds, ends)| ends.are_in(&bounds.hard.range))
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

fn chosen(row: &Row, matrix: &Matrix, survey: &Survey, request: &Request) -> Selection {
    let cluster = &survey.cluster;
    let unpinned = Request { pin: None, movement: Movement::Latest, ..*request };
    // What runs is kept in spite of its marks, and may be all that is left: then there is nothing to move to.
    let newer = choose(matrix, row.driver, survey, &unpinned).filter(|newest| {
        newest.release > row.release
            && unrecommended(newest, survey) <= unrecommended(row, survey)
            && may_install(newest, survey, &unpinned)
    });
    let left = request.installed.filter(|installed| *installed != row.release);
    let concerned = row.marks.cautions.iter().filter(|caution| {
        caution.kubernetes.holds(&cluster.kubernetes)
            && cluster.vcenters.iter().any(|vcenter| caution.vsphere.holds(&vcenter.version))
            && caution.leaving.is_none_or(|range| left.is_some_and(|release| range.holds(&release)))
    });
    Selection::Chosen(Box::new(Chosen {
        left: left.and_then(|release| misfit_of_installed(matrix, row.driver, release, survey)),
        known_bad: known_bad(matrix, row.driver, request),
        chosen_by: if request.pin.is_some() { ChosenBy::Pin } else { ChosenBy::Matrix },
        installed: request.installed,
        newer: newer.map(|newer| newer.release),
        outside: outside(row, cluster, Extent::Recommended).map(Outside::from).collect(),
        cautions: concerned.map(|caution| caution.text.clone()).collect(),
        row: row.clone(),
    }))
}

/// What is the matter with the installed release on this cluster, apart from its marks.
pub(crate) fn misfit_of_installed(
    matrix: &Matrix,
    driver: Driver,
    release: Release,
    survey: &Survey,
) -> Option<Misfit> {
    let why = match matrix.row(driver, release) {
        Some(row) => bounds(row, &survey.cluster).next()?.0.into(),
        None => Why::NotInMatrix,
    };
    Some(Misfit { driver, release, why })
}

/// What the row of the installed release says against it.
fn known_bad(matrix: &Matrix, driver: Driver, request: &Request) -> Option<String> {
    request.installed.and_then(|installed| matrix.row(driver, installed)?.marks.known_bad.clone())
}

fn no_match(matrix: &Matrix, driver: Driver, survey: &Survey, request: &Request) -> Selection {
    let mut ranked: Vec<_> = matrix
        .rows_of(driver)
        .filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release)))
        .map(|row| (rank(row, survey, request), row))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut misfits: Vec<_> =
        ranked.into_iter().filter_map(|(_, row)| first_misfit(row, survey, request)).collect();
    if let Some(Pin::Exact(release)) = request.pin
        && misfits.is_empty()
    {
        misfits.push(Misfit { driver, release, why: Why::NotInMatrix });
    }
    let stays = kept(request).and_then(|release| misfit_of_installed(matrix, driver, release, survey));
    let way_out = way_out(matrix, driver, survey, request);
    let changes = changes(way_out, matrix, driver, survey, request);
    let known_bad = known_bad(matrix, driver, request);
    let Request { pin, installed, .. } = *request;
    let no_match = NoMatch { driver, pin, installed, stays, known_bad, misfits, way_out, changes };
    Selection::NoMatch(Box::new(no_match))
}

/// Nearer is: fewer obstacles, then less distance, then the newer release.
type Rank = (usize, u64, Reverse<Release>);

fn rank(row: &Row, survey: &Survey, request: &Request) -> Rank {
    let (count, distance) =
        obstacles(row, survey, request).fold((0, 0), |(count, sum), (_, gap)| (count + 1, sum + gap));
    (count, distance, Reverse(row.release))
}

fn first_misfit(row: &Row, survey: &Survey, request: &Request) -> Option<Misfit> {
    let (why, _) = obstacles(row, survey, request).next()?;
    Some(Misfit { driver: row.driver, release: row.release, why: why.into() })
}

fn way_out(matrix: &Matrix, driver: Driver, survey: &Survey, request: &Request) -> WayOut {
    if survey.vsphere.is_none() {
        return WayOut::ReadVcenters;
    }
    let with = |request: Request| choose(matrix, driver, survey, &request).map(|row| row.release);
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
        if let Some(release) = if_named(matrix, driver, survey, request, |release| pin.allows(release)) {
            return asked(release);
        }
        if let Some(release) = with(Request { pin: None, ..*request }) {
            return WayOut::Unpin(release);
        }
    }
    if_named(matrix, driver, survey, request, |_| true).map_or(WayOut::AddRow, asked)
}

/// The changes that lead there. A line that holds what is installed never goes back, so a release is named.
fn changes(
    way_out: WayOut,
    matrix: &Matrix,
    driver: Driver,
    survey: &Survey,
    request: &Request,
) -> Vec<Change> {
    match way_out {
        WayOut::ReadVcenters | WayOut::AddRow => Vec::new(),
        WayOut::Move(release) | WayOut::Repin(release) => vec![Change::Pin(release)],
        WayOut::Unpin(_) => vec![Change::Unpin],
        WayOut::PinThis(release) => {
            let offered = Change::OfferCandidates.of(request);
            let mut changes = vec![Change::Pin(release)];
            if choose(matrix, driver, survey, &offered).is_some() {
                changes.push(Change::OfferCandidates);
            }
            changes
        }
        WayOut::GoBack(release) if request.pin == Some(Pin::Exact(release)) => vec![Change::AllowBack],
        WayOut::GoBack(release) => match request.downgrade {
            Downgrade::Forbid => vec![Change::PinBack(release)],
            Downgrade::Allow => vec![Change::Pin(release)],
        },
    }
}

/// The release that would be taken if the user named it and let it go back. One that goes forward goes before all others.
fn if_named(
    matrix: &Matrix,
    driver: Driver,
    survey: &Survey,
    request: &Request,
    allowed: impl Fn(Release) -> bool,
) -> Option<Release> {
    let named = |row: &&Row| {
        let pin = Some(Pin::Exact(row.release));
        let request = Request { pin, downgrade: Downgrade::Allow, ..*request };
        allowed(row.release) && may_install(row, survey, &request)
    };
    let best = matrix.rows_of(driver).filter(named).max_by_key(|row| {
        let forward = request.installed.is_none_or(|installed| row.release >= installed);
        (forward, Reverse(unrecommended(row, survey)), row.release)
    });
    best.map(|row| row.release)
}

/// Everything that stands in the way of a row, each with its distance, in the order of [`Why`].
fn obstacles<'a>(
    row: &'a Row,
    survey: &'a Survey,
    request: &Request,
) -> impl Iterator<Item = (Why<&'a str>, u64)> {
    bounds(row, &survey.cluster).chain(marks(row, request).map(|why| (why, 0)))
}

/// What of a cluster stands in the way of a row, each with its distance.
fn bounds<'a>(row: &Row, cluster: &'a Cluster) -> impl Iterator<Item = (Why<&'a str>, u64)> {
    // An unread vCenter is no proof.
    let unread = cluster.vcenters.is_empty().then_some((Why::NoVcenterKnown, 0));
    let outside = outside(row, cluster, Extent::Hard).map(|outside| (outside.gap(), outside));
    outside.map(|(gap, outside)| (Why::Outside(outside), gap)).chain(unread)
}

/// What a row's marks, and what is installed, say against it.
fn marks<'a>(row: &'a Row, request: &Request) -> impl Iterator<Item = Why<&'a str>> {
    let bad = row.marks.known_bad.as_deref().map(|reason| Why::KnownBad { reason });
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
    bad.into_iter().chain(unbuilt).chain(candidate).chain(older).chain(stranded)
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
fn outside<'a>(row: &Row, cluster: &'a Cluster, extent: Extent) -> impl Iterator<Item = Outside<&'a str>> {
    let needs = extent.of(&row.kubernetes);
    let runs = cluster.kubernetes;
    let kubernetes = (!needs.holds(&runs)).then_some(Outside::Kubernetes { needs, runs });
    let needs = extent.of(&row.vsphere);
    let vcenters = cluster.vcenters.iter().filter(move |vcenter| !needs.holds(&vcenter.version));
    let vcenters = vcenters.map(move |vcenter| Outside::Vsphere {
        vcenter: vcenter.name.as_str(),
        needs,
        runs: vcenter.version,
    });
    let hosts = row.esxi.as_ref().into_iter().flat_map(move |bounds| {
        let needs = extent.of(bounds);
        let hosts = cluster
            .vcenters
            .iter()
            .flat_map(|vcenter| vcenter.hosts.iter().map(move |host| (vcenter, *host)));
        let hosts = hosts.filter(move |(_, runs)| !needs.holds(runs));
        hosts.map(move |(vcenter, runs)| Outside::Esxi { vcenter: vcenter.name.as_str(), needs, runs })
    });
    kubernetes.into_iter().chain(vcenters).chain(hosts)
}

#[cfg(test)]
pub(crate) mod tests;
