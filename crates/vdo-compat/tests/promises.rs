//! What selection and the advice before an upgrade promise, for rows and clusters made at random. What concerns
//! `select` alone and needs nothing but hard bounds is in `src/select/tests.rs`.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use vdo_compat::upgrade::{Advice, Prospect, may_upgrade, prospect};
use vdo_compat::{
    Bound, Bounds, Caution, Channel, Cluster, Downgrade, Driver, Evidence, Grade, KubernetesVersion, Line,
    Marks, Matrix, Movement, Pin, Range, Release, Rendering, Request, Row, Selection, Source, Vcenter,
    Version, VsphereVersion, WayOut, explain, misfit, select,
};

/// A row in plain numbers, so that what is right can be said without the code that is tested.
#[derive(Clone, Copy, Debug)]
struct Plain {
    release: (u32, u32),
    kubernetes: (u32, u32),
    window: Option<(u32, u32)>,
    vsphere: (u32, u32),
    oldest_host: Option<u32>,
    follows: Option<u32>,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Candidate,
    KnownBad,
    Bundle,
}

impl Plain {
    fn release(&self) -> Release {
        let (minor, patch) = self.release;
        Release::new(3, minor, patch)
    }

    fn row(&self) -> Row {
        let minors =
            |(from, to): (u32, u32)| bound(Range::between(Line::new(&[1, from]), Line::new(&[1, to])));
        let (oldest, newest) = self.vsphere;
        let vsphere = Range::between(Line::new(&[oldest]), Line::new(&[newest]));
        let known_bad = (self.mark == Mark::KnownBad).then(|| "it loses snapshots".to_owned());
        let channel = if self.mark == Mark::Candidate { Channel::Candidate } else { Channel::Stable };
        let over = |oldest| Bounds { hard: bound(Range::at_least(Line::new(&[oldest]))), recommended: None };
        Row {
            driver: Driver::Csi,
            release: self.release(),
            kubernetes: Bounds { hard: minors(self.kubernetes), recommended: self.window.map(minors) },
            vsphere: Bounds { hard: bound(vsphere), recommended: None },
            esxi: self.oldest_host.map(over),
            upgrades_from: self.follows.map_or(Range::ANY, |minor| Range::at_least(Line::new(&[3, minor]))),
            needs_cpi: true,
            rendering: if self.mark == Mark::Bundle { Rendering::Bundle } else { Rendering::BuiltIn },
            marks: Marks { channel, known_bad, ..Marks::default() },
            source: None,
            images: Vec::new(),
            deployment_path: Vec::new(),
        }
    }

    /// Whether the release runs there: on the API server, with every vCenter and on every host that was read.
    fn runs(&self, here: &Here) -> bool {
        let within = |(from, to): (u32, u32), number| from <= number && number <= to;
        let hosts = here.vcenters.iter().flat_map(|(_, hosts)| hosts);
        within(self.kubernetes, here.minor)
            && !here.vcenters.is_empty()
            && here.vcenters.iter().all(|(major, _)| within(self.vsphere, *major))
            && hosts.into_iter().all(|host| self.oldest_host.is_none_or(|oldest| oldest <= *host))
    }

    fn may_be_installed(&self, channel: Channel) -> bool {
        match self.mark {
            Mark::None => true,
            Mark::Candidate => channel == Channel::Candidate,
            Mark::KnownBad | Mark::Bundle => false,
        }
    }

    /// How many minors Kubernetes is away from what the release is recommended for.
    fn minors_off(&self, minor: u32) -> u32 {
        let (from, to) = self.window.unwrap_or(self.kubernetes);
        from.saturating_sub(minor) + minor.saturating_sub(to)
    }
}

/// A cluster in plain numbers: the minor of Kubernetes, and the majors of each vCenter and of its hosts.
#[derive(Clone, Debug)]
struct Here {
    minor: u32,
    vcenters: Vec<(u32, Vec<u32>)>,
}

impl Here {
    /// The same cluster, moved to where the release runs.
    fn within(&self, row: &Plain) -> Self {
        let clamped = |number: u32, (from, to): (u32, u32)| number.clamp(from, to);
        let vcenter = |(major, hosts): &(u32, Vec<u32>)| {
            let hosts = hosts.iter().map(|host| (*host).max(row.oldest_host.unwrap_or(0)));
            (clamped(*major, row.vsphere), hosts.collect())
        };
        let mut vcenters: Vec<_> = self.vcenters.iter().map(vcenter).collect();
        if vcenters.is_empty() {
            vcenters.push((row.vsphere.0, Vec::new()));
        }
        Here { minor: clamped(self.minor, row.kubernetes), vcenters }
    }

    fn cluster(&self) -> Cluster {
        let version = |major: &u32| VsphereVersion::new(*major, 0, 1);
        let vcenter = |(at, (major, hosts)): (usize, &(u32, Vec<u32>))| Vcenter {
            hosts: hosts.iter().map(version).collect(),
            ..Vcenter::new(format!("vc-{at}"), version(major))
        };
        let vcenters = self.vcenters.iter().enumerate().map(vcenter).collect();
        Cluster { kubernetes: KubernetesVersion::new(1, self.minor, 2), vcenters }
    }
}

fn bound<V: Version>(range: Range<V>) -> Bound<V> {
    Bound { range, evidence: Evidence { grade: Grade::Stated, reference: "here".into() } }
}

fn matrix(rows: &[Plain]) -> Matrix {
    let rows = rows.iter().map(Plain::row).collect();
    Matrix { source: Source::ConfigMap, serial: None, digest: "0".into(), rows }
}

fn chosen(matrix: &Matrix, cluster: &Cluster, request: &Request) -> Option<Release> {
    match select(matrix, Driver::Csi, cluster, request) {
        Selection::Chosen(chosen) => Some(chosen.release()),
        Selection::NoMatch(_) => None,
    }
}

/// What is asked for after the fields that a text names were set as it says. None where it names no field.
fn as_told(way: &str, request: &Request) -> Option<Request> {
    let set = |field: &str| {
        let (_, value) = way.split_once(&format!("{field} to "))?;
        value.split([',', ':', ' ']).next()
    };
    let mut next = *request;
    if let Some(release) = set(Driver::Csi.pin_field()) {
        next.pin = Some(Pin::Exact(release.parse().unwrap()));
    }
    if way.contains(&format!("remove {}", Driver::Csi.pin_field())) {
        next.pin = None;
    }
    if set(Driver::Csi.downgrade_field()) == Some("Allow") {
        next.downgrade = Downgrade::Allow;
    }
    if set(Driver::Csi.channel_field()) == Some("Candidate") {
        next.channel = Channel::Candidate;
    }
    (next != *request).then_some(next)
}

fn span(from: std::ops::Range<u32>, more: u32) -> impl Strategy<Value = (u32, u32)> {
    (from, 0..more).prop_map(|(from, more)| (from, from + more))
}

fn some_row() -> impl Strategy<Value = Plain> {
    let mark = prop_oneof![
        7 => Just(Mark::None),
        1 => Just(Mark::Candidate),
        1 => Just(Mark::KnownBad),
        1 => Just(Mark::Bundle),
    ];
    let window = (0..4u32, 0..4u32, prop::bool::weighted(0.7));
    let over = prop::option::weighted(0.2, 6..9u32);
    let follows = prop::option::weighted(0.2, 0..4u32);
    ((0..4u32, 0..3u32), span(30..36, 7), window, span(6..8, 3), over, follows, mark).prop_map(
        |(release, kubernetes, (low, high, narrower), vsphere, oldest_host, follows, mark)| {
            let (from, to) = (kubernetes.0 + low, kubernetes.1.saturating_sub(high));
            let window = (narrower && from <= to).then_some((from, to));
            Plain { release, kubernetes, window, vsphere, oldest_host, follows, mark }
        },
    )
}

/// Each release at most once.
fn some_rows() -> impl Strategy<Value = Vec<Plain>> {
    prop::collection::vec(some_row(), 0..10).prop_map(|mut rows| {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(row.release));
        rows
    })
}

fn some_vcenter() -> impl Strategy<Value = (u32, Vec<u32>)> {
    (6..10u32, prop::collection::vec(6..10u32, 0..3))
}

fn somewhere() -> impl Strategy<Value = Here> {
    (29..43u32, prop::collection::vec(some_vcenter(), 0..3))
        .prop_map(|(minor, vcenters)| Here { minor, vcenters })
}

/// Rows and a cluster, which is mostly one that the first row runs on.
fn some_rows_and_place() -> impl Strategy<Value = (Vec<Plain>, Here)> {
    (some_rows(), somewhere(), prop::bool::weighted(0.8)).prop_map(|(rows, here, fits)| {
        let here = rows.first().filter(|_| fits).map_or(here.clone(), |row| here.within(row));
        (rows, here)
    })
}

fn some_release() -> impl Strategy<Value = Release> {
    (0..4u32, 0..3u32).prop_map(|(minor, patch)| Release::new(3, minor, patch))
}

fn some_channel() -> impl Strategy<Value = Channel> {
    prop::sample::select(vec![Channel::Stable, Channel::Candidate])
}

fn some_request() -> impl Strategy<Value = Request> {
    let pin = prop_oneof![
        some_release().prop_map(Pin::Exact),
        (0..4u32).prop_map(|minor| Pin::Line(Line::new(&[3, minor]))),
    ];
    let movement = prop::sample::select(vec![Movement::Stay, Movement::Patch, Movement::Latest]);
    let downgrade = prop::sample::select(vec![Downgrade::Forbid, Downgrade::Allow]);
    let pin = prop::option::weighted(0.3, pin);
    (pin, prop::option::of(some_release()), movement, some_channel(), downgrade).prop_map(
        |(pin, installed, movement, channel, downgrade)| Request {
            pin,
            installed,
            movement,
            channel,
            downgrade,
        },
    )
}

/// Rows, a cluster, and the one that it becomes: a later Kubernetes, or one more vCenter.
fn some_rows_and_step() -> impl Strategy<Value = (Vec<Plain>, Here, Here)> {
    let step = (0..3u32, prop::option::weighted(0.2, some_vcenter()));
    (some_rows_and_place(), step).prop_map(|((rows, now), (minors, vcenter))| {
        let mut next = now.clone();
        next.minor += minors;
        next.vcenters.extend(vcenter);
        (rows, now, next)
    })
}

/// As long as users and authors of a matrix can make them; the letter is one that takes two bytes.
fn some_text(longest: usize) -> impl Strategy<Value = String> {
    prop_oneof![1..20usize, 1..=longest].prop_map(|length| "ü".repeat(length))
}

fn quick() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(quick())]

    #[test]
    fn the_newest_that_is_made_for_the_cluster_is_chosen_and_else_the_newest_of_the_nearest(
        (rows, here) in some_rows_and_place(), channel in some_channel(),
    ) {
        let running = rows.iter().filter(|row| row.runs(&here) && row.may_be_installed(channel));
        // Tuples are compared from the left.
        let best = running.map(|row| (std::cmp::Reverse(row.minors_off(here.minor)), row.release())).max();
        let request = Request { channel, ..Request::default() };
        prop_assert_eq!(chosen(&matrix(&rows), &here.cluster(), &request), best.map(|(_, release)| release));
    }

    #[test]
    fn a_row_that_must_not_be_installed_changes_no_choice(
        (rows, here) in some_rows_and_place(), extra in some_row(), bundle in any::<bool>(), request in some_request(),
    ) {
        // It fits and would be the newest patch of its line, were it not for its mark.
        let mark = if bundle { Mark::Bundle } else { Mark::KnownBad };
        let extra = Plain { release: (extra.release.0, 9), mark, ..extra };
        let here = here.within(&extra);
        let more: Vec<Plain> = rows.iter().copied().chain([extra]).collect();
        let cluster = here.cluster();
        prop_assert_eq!(chosen(&matrix(&rows), &cluster, &request), chosen(&matrix(&more), &cluster, &request));
    }

    #[test]
    fn one_more_vcenter_lets_no_release_in(
        row in some_row(), here in somewhere(), near in any::<bool>(), more in some_vcenter(), channel in some_channel(),
    ) {
        let here = if near { here.within(&row) } else { here };
        prop_assume!(!here.vcenters.is_empty());
        let mut wider = here.clone();
        wider.vcenters.push(more);
        let fits = |here: &Here| misfit(&row.row(), &here.cluster(), channel).is_none();
        prop_assert_eq!(fits(&here), row.runs(&here) && row.may_be_installed(channel));
        prop_assert!(fits(&here) || !fits(&wider));
    }

    #[test]
    fn what_is_installed_and_runs_here_is_never_refused(
        there in some_row(), others in some_rows(), here in somewhere(), request in some_request(),
    ) {
        let others = others.into_iter().filter(|row| row.release != there.release);
        let rows: Vec<Plain> = others.chain([there]).collect();
        let here = here.within(&there);
        let request = Request { pin: None, installed: Some(there.release()), ..request };
        let kept = chosen(&matrix(&rows), &here.cluster(), &request);
        prop_assert!(kept.is_some());
        if request.movement == Movement::Stay {
            prop_assert_eq!(kept, Some(there.release()));
        }
    }

    #[test]
    fn a_refusal_keeps_what_is_installed_and_says_so(
        (rows, here) in some_rows_and_place(), request in some_request(),
    ) {
        let selection = select(&matrix(&rows), Driver::Csi, &here.cluster(), &request);
        if let Selection::NoMatch(no_match) = &selection {
            prop_assert_eq!(no_match.installed, request.installed);
            let text = explain::selection(&selection);
            prop_assert_eq!(text.contains("stays installed"), request.installed.is_some(), "{}", text);
        }
    }

    #[test]
    fn what_is_installed_is_left_only_for_what_can_be_installed_in_its_place(
        (rows, here) in some_rows_and_place(), request in some_request(),
    ) {
        let (matrix, cluster) = (matrix(&rows), here.cluster());
        let Some(release) = chosen(&matrix, &cluster, &request) else { return Ok(()) };
        if request.installed != Some(release) {
            let row = matrix.row(Driver::Csi, release).unwrap();
            let named = matches!(request.pin, Some(Pin::Exact(_)));
            let channel = if named { Channel::Candidate } else { request.channel };
            prop_assert_eq!(misfit(row, &cluster, channel), None);
            let forward = request.installed.filter(|installed| *installed < release);
            prop_assert!(forward.is_none_or(|installed| row.upgrades_from.holds(&installed)));
        }
    }

    #[test]
    fn what_is_said_to_fit_too_can_be_installed_and_is_no_farther_off(
        (rows, here) in some_rows_and_place(), request in some_request(),
    ) {
        let (matrix, cluster) = (matrix(&rows), here.cluster());
        let Selection::Chosen(choice) = select(&matrix, Driver::Csi, &cluster, &request) else { return Ok(()) };
        let Some(newer) = choice.newer else { return Ok(()) };
        let plain = |release| rows.iter().find(|row| row.release() == release).unwrap();
        prop_assert!(newer > choice.release());
        // What is left now can be had again by its name, on any channel.
        let channel = if request.installed == Some(newer) { Channel::Candidate } else { request.channel };
        prop_assert!(plain(newer).runs(&here) && plain(newer).may_be_installed(channel));
        prop_assert!(plain(newer).minors_off(here.minor) <= plain(choice.release()).minors_off(here.minor));
    }

    /// What the user does who reads the text, and nothing that the text does not say.
    #[test]
    fn whoever_does_what_the_text_says_gets_a_release(
        (rows, here) in some_rows_and_place(), request in some_request(),
    ) {
        let (matrix, cluster) = (matrix(&rows), here.cluster());
        let selection = select(&matrix, Driver::Csi, &cluster, &request);
        let Selection::NoMatch(no_match) = &selection else { return Ok(()) };
        let text = explain::selection(&selection);
        let mut done = 0;
        for way in text.split("To go on, ").last().unwrap().split(", or ") {
            let Some(next) = as_told(way, &request) else { continue };
            prop_assert!(chosen(&matrix, &cluster, &next).is_some(), "{} in {}", way, text);
            done += 1;
        }
        let no_setting_helps = matches!(no_match.way_out, WayOut::ReadVcenters | WayOut::AddRow);
        prop_assert_eq!(done == 0, no_setting_helps, "{}", text);
    }

    #[test]
    fn only_a_candidate_is_called_one((rows, here) in some_rows_and_place(), request in some_request()) {
        let selection = select(&matrix(&rows), Driver::Csi, &here.cluster(), &request);
        let Selection::NoMatch(no_match) = &selection else { return Ok(()) };
        let text = explain::selection(&selection);
        let remedy = text.split("To go on, ").last().unwrap();
        let named = rows.iter().find(|row| remedy.contains(&format!("{}, which is a candidate", row.release())));
        prop_assert_eq!(named.is_some(), matches!(no_match.way_out, WayOut::PinThis(_)), "{}", text);
        prop_assert!(named.is_none_or(|row| row.mark == Mark::Candidate && request.channel == Channel::Stable));
    }

    /// Each choice is installed and asked for again. Only the first step may go back, and only with consent.
    #[test]
    fn a_cluster_that_stays_as_it_is_comes_to_rest_and_climbs_on_the_way(
        (rows, here) in some_rows_and_place(), request in some_request(),
    ) {
        let (matrix, cluster) = (matrix(&rows), here.cluster());
        let Some(mut installed) = chosen(&matrix, &cluster, &request) else { return Ok(()) };
        for _ in 0..=rows.len() {
            let request = Request { installed: Some(installed), ..request };
            let next = chosen(&matrix, &cluster, &request);
            prop_assert!(next.is_some_and(|next| next >= installed), "{:?} after {}", next, installed);
            if next == Some(installed) {
                return Ok(());
            }
            installed = next.unwrap();
        }
        prop_assert!(false, "still moving at {}", installed);
    }

    #[test]
    fn a_release_that_is_advised_before_an_upgrade_is_one_that_a_pin_gets(
        (rows, now, next) in some_rows_and_step(), any_release in some_release(), known in any::<bool>(),
        channel in some_channel(),
    ) {
        let installed = rows.first().filter(|_| known).map_or(any_release, Plain::release);
        let matrix = matrix(&rows);
        let (now, next) = (now.cluster(), next.cluster());
        let said = prospect(&matrix, Driver::Csi, installed, None, (&now, &next), channel);
        let pinned = |release: Release, cluster: &Cluster| {
            let request = Request { pin: Some(release.into()), installed: Some(installed), channel, ..Request::default() };
            chosen(&matrix, cluster, &request)
        };
        let stays = |release: Release, cluster: &Cluster| {
            chosen(&matrix, cluster, &Request { installed: Some(release), channel, ..Request::default() })
        };
        prop_assert_eq!(may_upgrade(std::slice::from_ref(&said)), matches!(said.advice, Advice::Go { .. }));
        match said.advice {
            Advice::Go { then } => {
                prop_assert_eq!(stays(installed, &next), Some(installed));
                if let Some(release) = then {
                    prop_assert!(release > installed);
                    prop_assert_eq!(pinned(release, &next), Some(release));
                }
            }
            Advice::First(release) => {
                prop_assert!(release > installed);
                prop_assert_eq!(pinned(release, &now), Some(release));
                // The pin is still there when the cluster is upgraded.
                let after = Request { pin: Some(release.into()), installed: Some(release), channel, ..Request::default() };
                prop_assert_eq!(chosen(&matrix, &next, &after), Some(release));
            }
            Advice::NotYet(_) => prop_assert_eq!(stays(installed, &next), Some(installed)),
            Advice::Stop(_) => prop_assert_eq!(stays(installed, &next), None),
        }
    }

    #[test]
    fn no_text_is_too_long_and_each_names_its_driver(
        (rows, now, next) in some_rows_and_step(),
        request in some_request(),
        // A name of Kubernetes has at most 253 letters.
        names in prop::collection::vec(some_text(253), 4),
        reason in some_text(1_100),
        cpi in any::<bool>(),
    ) {
        let driver = if cpi { Driver::Cpi } else { Driver::Csi };
        let mut matrix = matrix(&rows);
        for row in &mut matrix.rows {
            row.driver = driver;
            row.marks.known_bad = row.marks.known_bad.take().map(|_| reason.clone());
            let (kubernetes, vsphere, text) = (Range::ANY, Range::ANY, reason.clone());
            row.marks.cautions.push(Caution { kubernetes, vsphere, leaving: None, text });
        }
        let (mut now, mut next) = (now.cluster(), next.cluster());
        for cluster in [&mut now, &mut next] {
            for (vcenter, name) in cluster.vcenters.iter_mut().zip(&names) {
                vcenter.name.clone_from(name);
            }
        }
        let installed = request.installed.unwrap_or(Release::new(3, 1, 0));
        let ahead: Prospect = prospect(&matrix, driver, installed, None, (&now, &next), request.channel);
        for text in [
            explain::selection(&select(&matrix, driver, &now, &request)),
            explain::prospect(&ahead),
        ] {
            prop_assert!(text.chars().count() <= explain::LONGEST, "{} characters: {}", text.chars().count(), text);
            prop_assert!(text.contains(driver.name()), "{}", text);
            prop_assert!(!text.contains('\n'), "{}", text);
        }
    }
}
