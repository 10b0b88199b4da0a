use proptest::prelude::*;

use super::*;
use crate::builtin;
use crate::cluster::Vcenter;
use crate::matrix::{Bound, Caution, Evidence, Grade, Marks, Source};
use crate::version::{KubernetesVersion, VsphereVersion};

fn stated<V: Version>((from, to): (&str, &str)) -> Bound<V> {
    let range = Range::between(from.parse().unwrap(), to.parse().unwrap());
    Bound { range, evidence: Evidence { grade: Grade::Stated, reference: "here".into() } }
}

fn hard<V: Version>(ends: (&str, &str)) -> Bounds<V> {
    Bounds { hard: stated(ends), recommended: None }
}

pub(crate) fn row(release: &str, kubernetes: (&str, &str), vsphere: (&str, &str)) -> Row {
    Row {
        driver: Driver::Csi,
        release: release.parse().unwrap(),
        kubernetes: hard(kubernetes),
        vsphere: hard(vsphere),
        esxi: None,
        upgrades_from: Range::ANY,
        needs_cpi: true,
        rendering: Rendering::BuiltIn,
        marks: Marks::default(),
        source: None,
        images: Vec::new(),
        deployment_path: Vec::new(),
    }
}

/// The same row, made for fewer API servers than it is refused on.
pub(crate) fn made_for(kubernetes: (&str, &str), row: Row) -> Row {
    Row { kubernetes: Bounds { recommended: Some(stated(kubernetes)), ..row.kubernetes }, ..row }
}

pub(crate) fn matrix(rows: Vec<Row>) -> Matrix {
    Matrix { source: Source::ConfigMap, serial: None, digest: "0".into(), rows }
}

/// The rows most tables here read: two lines of three Kubernetes minors, and a first one for old vCenters.
fn field() -> Matrix {
    matrix(vec![
        row("3.10.0", ("1.34", "1.36"), ("8.0", "9.0")),
        row("3.9.0", ("1.33", "1.35"), ("7.0", "9.0")),
        row("3.9.1", ("1.33", "1.35"), ("7.0", "9.0")),
        row("3.8.0", ("1.32", "1.34"), ("7.0", "8.0")),
    ])
}

pub(crate) fn cluster(kubernetes: &str, vcenters: &[&str]) -> Cluster {
    let named =
        |(at, version): (usize, &&str)| Vcenter::new(format!("vc-{}", at + 1), version.parse().unwrap());
    Cluster {
        kubernetes: kubernetes.parse().unwrap(),
        vcenters: vcenters.iter().enumerate().map(named).collect(),
    }
}

fn installed(release: &str) -> Request {
    Request { installed: Some(release.parse().unwrap()), ..Request::default() }
}

fn pinned(pin: &str) -> Request {
    Request { pin: Some(pin.parse().unwrap()), ..Request::default() }
}

fn pick(matrix: &Matrix, cluster: &Cluster, request: Request) -> String {
    match select(matrix, Driver::Csi, cluster, &request) {
        Selection::Chosen(chosen) => chosen.release().to_string(),
        Selection::NoMatch(_) => "none".into(),
    }
}

fn refused(matrix: &Matrix, cluster: &Cluster, request: Request) -> NoMatch {
    match select(matrix, Driver::Csi, cluster, &request) {
        Selection::Chosen(chosen) => panic!("{} was chosen", chosen.release()),
        Selection::NoMatch(no_match) => *no_match,
    }
}

fn accepted(matrix: &Matrix, cluster: &Cluster, request: Request) -> Chosen {
    match select(matrix, Driver::Csi, cluster, &request) {
        Selection::Chosen(chosen) => *chosen,
        Selection::NoMatch(no_match) => panic!("nothing was chosen: {no_match:?}"),
    }
}

#[test]
fn with_nothing_installed_the_newest_that_fits_is_chosen() {
    for (kubernetes, vcenters, release) in [
        ("1.31.9", &["8.0.3"][..], "none"),
        ("1.32.0", &["8.0.3"], "3.8.0"),
        ("1.33.9", &["8.0.3"], "3.9.1"),
        ("v1.34.1+rke2r1", &["8.0.3"], "3.10.0"),
        ("1.34.1", &["7.0.3"], "3.9.1"),
        ("1.34.1", &["9.0.1"], "3.10.0"),
        ("1.34.1", &["9.1.0"], "none"),
        ("1.36.0-rc.1", &["8.0.0"], "3.10.0"),
        ("1.37.0-alpha.0", &["8.0.0"], "none"),
        ("1.32.5", &["9.0.0"], "none"),
        ("1.34.1", &["6.7.0"], "none"),
    ] {
        assert_eq!(
            pick(&field(), &cluster(kubernetes, vcenters), Request::default()),
            release,
            "{kubernetes} {vcenters:?}"
        );
    }
}

#[test]
fn every_vcenter_must_fit() {
    for (vcenters, release) in [
        (&["8.0.3", "8.0.1"][..], "3.10.0"),
        (&["8.0.3", "7.0.3"], "3.9.1"),
        (&["7.0.3", "8.0.3"], "3.9.1"),
        (&["8.0.3", "9.0.0", "7.0.3"], "3.9.1"),
        (&["8.0.3", "6.7.0"], "none"),
        (&["6.7.0", "8.0.3"], "none"),
    ] {
        assert_eq!(pick(&field(), &cluster("1.34.1", vcenters), Request::default()), release, "{vcenters:?}");
    }
}

#[test]
fn with_no_vcenter_known_nothing_is_chosen() {
    let no_match = refused(&field(), &cluster("1.34.1", &[]), installed("3.9.0"));
    assert_eq!(no_match.way_out, WayOut::ReadVcenters);
    assert_eq!(no_match.installed, Some(Release::new(3, 9, 0)));
    assert_eq!(no_match.misfits[0].why, Why::NoVcenterKnown);
}

#[test]
fn what_is_installed_stays_and_where_it_does_not_fit_the_answer_is_a_hold() {
    for (kubernetes, request, release) in [
        ("1.34.1", installed("3.8.0"), "3.8.0"),
        ("1.34.1", installed("3.9.0"), "3.9.0"),
        ("1.34.1", installed("3.10.0"), "3.10.0"),
        // It no longer fits, and a newer one would: a hold, because nobody asked to move.
        ("1.35.0", installed("3.8.0"), "none"),
        ("1.36.0", installed("3.9.0"), "none"),
        // Not in the matrix at all.
        ("1.34.1", installed("3.7.0"), "none"),
        ("1.33.1", installed("3.8.5"), "none"),
        // Nothing that fits is as new: a hold too, never a step back.
        ("1.33.1", installed("3.10.0"), "none"),
        ("1.34.1", installed("3.11.0"), "none"),
        ("1.37.0", installed("3.10.0"), "none"),
    ] {
        assert_eq!(
            pick(&field(), &cluster(kubernetes, &["8.0.3"]), request),
            release,
            "{kubernetes} {request:?}"
        );
    }
}

#[test]
fn asked_to_move_it_goes_as_far_as_was_allowed_and_never_back() {
    for (kubernetes, from, patch, latest) in [
        ("1.34.1", "3.8.0", "3.8.0", "3.10.0"),
        ("1.34.1", "3.9.0", "3.9.1", "3.10.0"),
        ("1.33.1", "3.9.0", "3.9.1", "3.9.1"),
        ("1.33.1", "3.9.1", "3.9.1", "3.9.1"),
        ("1.33.1", "3.10.0", "none", "none"),
        // It does not fit: the next line is too far for a patch.
        ("1.36.0", "3.9.0", "none", "3.10.0"),
        // Without a row, within and beyond its line.
        ("1.34.1", "3.9.0-rc.1", "3.9.1", "3.10.0"),
        ("1.34.1", "3.7.0", "none", "3.10.0"),
    ] {
        let here = cluster(kubernetes, &["8.0.3"]);
        for (movement, to) in [(Movement::Patch, patch), (Movement::Latest, latest)] {
            let request = Request { movement, ..installed(from) };
            assert_eq!(pick(&field(), &here, request), to, "{kubernetes} from {from}, {movement:?}");
        }
    }
}

#[test]
fn a_pin_names_the_only_release() {
    let with = |pin: &str, there: &str| Request { pin: Some(pin.parse().unwrap()), ..installed(there) };
    for (kubernetes, request, release) in [
        ("1.34.1", pinned("3.9.0"), "3.9.0"),
        ("1.34.1", pinned("v3.8.0"), "3.8.0"),
        ("1.34.1", with("3.10.0", "3.8.0"), "3.10.0"),
        ("1.34.1", with("3.9.0", "3.9.0"), "3.9.0"),
        // A pin is a wish, not a proof.
        ("1.36.1", pinned("3.9.0"), "none"),
        ("1.36.1", with("3.9.0", "3.9.0"), "none"),
        ("1.34.1", pinned("3.9.7"), "none"),
        ("1.34.1", pinned("3.9.0-rc.1"), "none"),
        // A line: its newest, and within it nothing moves of itself.
        ("1.34.1", pinned("3.9"), "3.9.1"),
        ("1.34.1", pinned("3"), "3.10.0"),
        ("1.34.1", with("3.9", "3.9.0"), "3.9.0"),
        ("1.34.1", with("3.9", "3.9.2"), "none"),
        ("1.34.1", with("3.9", "3.8.0"), "3.9.1"),
        ("1.34.1", pinned("3.11"), "none"),
    ] {
        let here = cluster(kubernetes, &["8.0.3"]);
        assert_eq!(pick(&field(), &here, request), release, "{kubernetes} {request:?}");
    }
    let eager = Request { movement: Movement::Latest, ..with("3.9", "3.9.0") };
    assert_eq!(pick(&field(), &cluster("1.34.1", &["8.0.3"]), eager), "3.9.1", "within the line it may move");
}

#[test]
fn a_pin_goes_back_only_where_that_was_allowed() {
    for (pin, there, forbidden, allowed) in [
        ("3.8.0", "3.10.0", "none", "3.8.0"),
        ("3.9", "3.10.0", "none", "3.9.1"),
        ("3.10.0", "3.8.0", "3.10.0", "3.10.0"),
        // What is installed is in the line, so nobody asked to leave it.
        ("3.9", "3.9.2", "none", "none"),
    ] {
        for (downgrade, release) in [(Downgrade::Forbid, forbidden), (Downgrade::Allow, allowed)] {
            let request = Request { pin: Some(pin.parse().unwrap()), downgrade, ..installed(there) };
            let here = cluster("1.34.1", &["8.0.3"]);
            assert_eq!(pick(&field(), &here, request), release, "{request:?}");
        }
    }
    let loose = Request { downgrade: Downgrade::Allow, movement: Movement::Latest, ..installed("3.10.0") };
    assert_eq!(pick(&field(), &cluster("1.33.1", &["8.0.3"]), loose), "none", "no pin asked for it");
}

#[test]
fn a_choice_says_who_made_it_and_what_else_would_fit() {
    let here = cluster("1.34.1", &["8.0.3"]);
    let first = accepted(&field(), &here, Request::default());
    assert_eq!((first.chosen_by, first.newer, first.left), (ChosenBy::Matrix, None, None));

    let stays = accepted(&field(), &here, installed("3.8.0"));
    assert_eq!((stays.newer, stays.left), (Some(Release::new(3, 10, 0)), None));

    let pinned = accepted(&field(), &here, pinned("3.9.0"));
    assert_eq!((pinned.chosen_by, pinned.newer), (ChosenBy::Pin, Some(Release::new(3, 10, 0))));

    let eager = |there| Request { movement: Movement::Latest, ..installed(there) };
    let moved = accepted(&field(), &cluster("1.35.0", &["8.0.3"]), eager("3.8.0"));
    assert!(matches!(moved.left.unwrap().why, Why::Outside(Outside::Kubernetes { .. })));

    let unknown = accepted(&field(), &here, eager("3.7.0"));
    assert_eq!(unknown.left.unwrap().why, Why::NotInMatrix);
    assert_eq!([unknown.chosen_by, pinned.chosen_by].map(ChosenBy::name), ["Matrix", "Pin"]);
}

#[test]
fn the_first_failing_bound_is_named_with_its_vcenter() {
    let rows = matrix(vec![row("3.9.0", ("1.33", "1.35"), ("7.0", "8.0"))]);
    let why = |kubernetes: &str, vcenters: &[&str]| {
        refused(&rows, &cluster(kubernetes, vcenters), Request::default()).misfits.remove(0).why
    };
    let needs = rows.rows[0].kubernetes.hard.range;
    for (kubernetes, vcenter, runs) in [("1.32.9", "8.0.3", (1, 32, 9)), ("1.36.3", "6.5.0", (1, 36, 3))] {
        let runs = KubernetesVersion::new(runs.0, runs.1, runs.2);
        assert_eq!(why(kubernetes, &[vcenter]), Why::Outside(Outside::Kubernetes { needs, runs }));
    }
    let needs = rows.rows[0].vsphere.hard.range;
    for (vcenters, at, runs) in
        [(["8.0.3", "6.7 U3"], "vc-2", (6, 7, 3)), (["9.0", "6.7 U3"], "vc-1", (9, 0, 0))]
    {
        let (vcenter, runs) = (at.to_owned(), VsphereVersion::new(runs.0, runs.1, runs.2));
        assert_eq!(why("1.34.0", &vcenters), Why::Outside(Outside::Vsphere { vcenter, needs, runs }));
    }
}

#[test]
fn a_host_counts_where_it_was_read_and_the_row_speaks_of_hosts() {
    let mut rows = matrix(vec![row("3.9.0", ("1.33", "1.35"), ("7.0", "9.0"))]);
    let mut here = cluster("1.34.1", &["8.0.3", "8.0.2"]);
    let old = VsphereVersion::new(6, 7, 3);
    here.vcenters[1].hosts = vec![VsphereVersion::new(8, 0, 2), old, old];
    assert_eq!(pick(&rows, &here, Request::default()), "3.9.0", "the row says nothing of hosts");
    rows.rows[0].esxi = Some(hard(("7.0", "9.0")));
    let needs = rows.rows[0].esxi.as_ref().unwrap().hard.range;
    let no_match = refused(&rows, &here, Request::default());
    let (vcenter, runs) = ("vc-2".to_owned(), old);
    assert_eq!(no_match.misfits[0].why, Why::Outside(Outside::Esxi { vcenter, needs, runs }));
    assert_eq!(pick(&rows, &cluster("1.34.1", &["8.0.3"]), Request::default()), "3.9.0", "no host was read");
}

#[test]
fn what_is_recommended_goes_before_what_is_only_not_refused() {
    let wide = |release, window| made_for(window, row(release, ("1.27", "1.40"), ("7.0", "9.0")));
    let rows = matrix(vec![
        wide("3.7.0", ("1.33", "1.35")),
        wide("3.7.1", ("1.33", "1.35")),
        wide("3.8.0", ("1.34", "1.36")),
    ]);
    for (kubernetes, release, outside) in [
        ("1.33.1", "3.7.1", 0),
        ("1.34.1", "3.8.0", 0),
        ("1.36.1", "3.8.0", 0),
        // In no window: the nearest, and of those the newest.
        ("1.38.0", "3.8.0", 1),
        ("1.31.0", "3.7.1", 1),
        ("1.26.0", "none", 0),
    ] {
        let here = cluster(kubernetes, &["8.0.3"]);
        assert_eq!(pick(&rows, &here, Request::default()), release, "{kubernetes}");
        if release != "none" {
            assert_eq!(accepted(&rows, &here, Request::default()).outside.len(), outside, "{kubernetes}");
        }
    }
    // Nothing leaves a window of itself, and what was asked for is not moved into one.
    let eager = Request { movement: Movement::Latest, ..installed("3.7.1") };
    assert_eq!(pick(&rows, &cluster("1.33.1", &["8.0.3"]), eager), "3.7.1");
    assert_eq!(accepted(&rows, &cluster("1.33.1", &["8.0.3"]), installed("3.7.1")).newer, None);
    assert_eq!(accepted(&rows, &cluster("1.33.1", &["8.0.3"]), pinned("3.8.0")).outside.len(), 1);
    assert_eq!(accepted(&rows, &cluster("1.36.1", &["8.0.3"]), installed("3.7.1")).outside.len(), 1);
}

#[test]
fn a_release_that_cannot_follow_the_installed_one_is_refused() {
    let mut rows = field();
    rows.rows[0].upgrades_from = Range::at_least("3.9".parse().unwrap());
    let here = cluster("1.34.1", &["8.0.3"]);
    let eager = |there| Request { movement: Movement::Latest, ..installed(there) };
    assert_eq!(pick(&rows, &here, eager("3.9.0")), "3.10.0");
    assert_eq!(pick(&rows, &here, eager("3.8.0")), "3.9.1", "one step after the other");
    assert_eq!(pick(&rows, &here, Request::default()), "3.10.0");
    let pin = Request { pin: Some("3.10.0".parse().unwrap()), ..installed("3.8.0") };
    let from = rows.rows[0].upgrades_from;
    let installed = Release::new(3, 8, 0);
    assert_eq!(refused(&rows, &here, pin).misfits[0].why, Why::NotUpgradable { installed, from });
}

#[test]
fn what_is_installed_need_not_be_able_to_follow_itself() {
    let mut rows = matrix(vec![
        row("3.9.0", ("1.33", "1.36"), ("7.0", "9.0")),
        made_for(("1.36", "1.36"), row("3.10.0", ("1.33", "1.36"), ("7.0", "9.0"))),
    ]);
    rows.rows[0].upgrades_from = Range::at_most("3.8".parse().unwrap());
    let eager = Request { movement: Movement::Latest, ..installed("3.9.0") };
    assert_eq!(pick(&rows, &cluster("1.34.1", &["8.0.3"]), eager), "3.9.0");
    assert_eq!(pick(&rows, &cluster("1.36.1", &["8.0.3"]), eager), "3.10.0");
}

#[test]
fn misfits_come_nearest_first() {
    let order = |rows: Vec<Row>, here: &Cluster| -> Vec<String> {
        let no_match = refused(&matrix(rows), here, Request::default());
        no_match.misfits.iter().map(|misfit| misfit.release.to_string()).collect()
    };
    // By distance in Kubernetes, and the newer of two at the same distance.
    assert_eq!(order(field().rows, &cluster("1.37.1", &["8.0.3"])), ["3.10.0", "3.9.1", "3.9.0", "3.8.0"]);
    assert_eq!(order(field().rows, &cluster("1.30.1", &["8.0.3"])), ["3.8.0", "3.9.1", "3.9.0", "3.10.0"]);
    // One bound a little off is nearer than two, and one far off is still one.
    let rows = vec![
        row("1.0.0", ("1.33", "1.35"), ("7.0", "8.0")),
        row("2.0.0", ("1.20", "1.21"), ("7.0", "8.0")),
        row("3.0.0", ("1.37", "1.38"), ("8.1", "8.2")),
    ];
    assert_eq!(order(rows, &cluster("1.36.0", &["8.0.3"])), ["1.0.0", "2.0.0", "3.0.0"]);
    // Of two with two bounds off, all distances count.
    let rows = vec![
        row("1.0.0", ("1.41", "1.42"), ("8.0.4", "8.0")),
        row("2.0.0", ("1.37", "1.38"), ("8.0.5", "8.0")),
    ];
    assert_eq!(order(rows, &cluster("1.36.0", &["8.0.3"])), ["2.0.0", "1.0.0"]);
}

#[test]
fn a_change_sets_what_it_says_and_leaves_the_rest() {
    let release = Release::new(3, 7, 1);
    let line = Request {
        pin: Some("3.7".parse().unwrap()),
        installed: Some(Release::new(3, 7, 2)),
        movement: Movement::Patch,
        ..Request::default()
    };
    let pinned = Request { pin: Some(Pin::Exact(release)), ..line };
    for (change, wanted) in [
        (Change::Pin(release), pinned),
        (Change::Unpin, Request { pin: None, ..line }),
        (Change::PinBack(release), Request { downgrade: Downgrade::Allow, ..pinned }),
        (Change::AllowBack, Request { downgrade: Downgrade::Allow, ..line }),
        (Change::OfferCandidates, Request { channel: Channel::Candidate, ..line }),
    ] {
        assert_eq!(change.of(&line), wanted, "{change:?}");
    }
}

#[test]
fn what_is_known_bad_is_not_installed_and_not_torn_out() {
    let mut rows = field();
    rows.rows[0].marks.known_bad = Some("loses snapshots".into());
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(pick(&rows, &here, Request::default()), "3.9.1");
    assert_eq!(pick(&rows, &here, pinned("3.10.0")), "none");
    assert_eq!(pick(&rows, &here, installed("3.10.0")), "3.10.0");
    let eager = |movement| Request { movement, ..installed("3.10.0") };
    assert_eq!(
        pick(&rows, &here, eager(Movement::Latest)),
        "3.10.0",
        "nothing newer is good, and there is no way back"
    );
    rows.rows.push(row("3.10.1", ("1.34", "1.36"), ("8.0", "9.0")));
    assert_eq!(pick(&rows, &here, eager(Movement::Patch)), "3.10.1");
    assert_eq!(pick(&rows, &here, eager(Movement::Stay)), "3.10.0");
    let no_match = refused(&rows, &here, pinned("3.10.0"));
    assert_eq!(no_match.misfits[0].why, Why::KnownBad { reason: "loses snapshots".into() });
    assert_eq!(no_match.way_out, WayOut::Unpin(Release::new(3, 10, 1)));
    assert_eq!(no_match.known_bad, None, "nothing is installed");
}

#[test]
fn that_what_is_installed_is_known_bad_is_told_where_it_stays_where_it_is_left_and_where_it_is_held() {
    let mut rows = field();
    rows.rows.push(row("3.10.1", ("1.34", "1.36"), ("8.0", "9.0")));
    rows.rows[0].marks.known_bad = Some("loses snapshots".into());
    rows.rows[1].marks.known_bad = Some("it hangs".into());
    let bad = Some("loses snapshots".to_owned());
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(accepted(&rows, &here, installed("3.10.0")).known_bad, bad);
    let left = accepted(&rows, &here, Request { movement: Movement::Patch, ..installed("3.10.0") });
    assert_eq!((left.release(), left.known_bad, left.left), (Release::new(3, 10, 1), bad.clone(), None));
    let held = refused(&rows, &cluster("1.37.0", &["8.0.3"]), installed("3.10.0"));
    assert_eq!(held.known_bad, bad);
    // Of a release that is good, or has no row, there is nothing to tell.
    assert_eq!(accepted(&rows, &here, installed("3.9.1")).known_bad, None);
    assert_eq!(refused(&rows, &here, installed("3.7.0")).known_bad, None);
}

#[test]
fn a_change_leads_out_of_the_hold_and_no_other_is_told() {
    let release = |text: &str| text.parse::<Release>().unwrap();
    let with = |pin: &str, there: &str| Request { pin: Some(pin.parse().unwrap()), ..installed(there) };
    let here = cluster("1.34.1", &["8.0.3"]);
    // The line holds what is installed, which has no row: only a release that is named lets it go back.
    let line = refused(&field(), &here, with("3.9", "3.9.2"));
    assert_eq!(
        (line.way_out, line.changes),
        (WayOut::GoBack(release("3.9.1")), vec![Change::PinBack(release("3.9.1"))])
    );
    let named = refused(&field(), &here, with("3.8.0", "3.10.0"));
    assert_eq!(named.changes, [Change::AllowBack]);
    let none = refused(&field(), &cluster("1.33.1", &["8.0.3"]), installed("3.10.0"));
    assert_eq!(none.changes, [Change::PinBack(release("3.9.1"))]);
    let loose = Request { downgrade: Downgrade::Allow, ..installed("3.10.0") };
    let loose = refused(&field(), &cluster("1.33.1", &["8.0.3"]), loose);
    assert_eq!(loose.changes, [Change::Pin(release("3.9.1"))], "going back is allowed already");
    assert_eq!(
        refused(&field(), &cluster("1.36.1", &["8.0.3"]), installed("3.9.0")).changes,
        [Change::Pin(release("3.10.0"))]
    );
    assert_eq!(refused(&field(), &cluster("1.36.1", &["8.0.3"]), pinned("3.9.0")).changes, [Change::Unpin]);
    assert_eq!(refused(&field(), &cluster("1.34.1", &[]), installed("3.9.0")).changes, []);
    assert_eq!(refused(&field(), &cluster("1.40.1", &["8.0.3"]), installed("3.9.0")).changes, []);

    // Offering candidates moves nothing that may not move, and none into another line as a patch.
    let mut rows = field();
    rows.rows[0].marks.channel = Channel::Candidate;
    let here = cluster("1.36.1", &["8.0.3"]);
    let candidate = Change::Pin(release("3.10.0"));
    for (request, changes) in [
        (Request::default(), &[candidate, Change::OfferCandidates][..]),
        (installed("3.9.0"), &[candidate]),
        (Request { movement: Movement::Patch, ..installed("3.9.0") }, &[candidate]),
        (Request { movement: Movement::Latest, ..installed("3.9.0") }, &[candidate, Change::OfferCandidates]),
        (pinned("3.10"), &[candidate, Change::OfferCandidates]),
        (pinned("3.9"), &[candidate]),
    ] {
        let held = refused(&rows, &here, request);
        assert_eq!(
            (held.way_out, held.changes.as_slice()),
            (WayOut::PinThis(release("3.10.0")), changes),
            "{request:?}"
        );
    }
}

#[test]
fn a_candidate_is_for_those_who_ask() {
    let mut rows = field();
    rows.rows[0].marks.channel = Channel::Candidate;
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(pick(&rows, &here, Request::default()), "3.9.1");
    assert_eq!(pick(&rows, &here, Request { channel: Channel::Candidate, ..Request::default() }), "3.10.0");
    assert_eq!(pick(&rows, &here, pinned("3.10.0")), "3.10.0");
    assert_eq!(pick(&rows, &here, pinned("3.10")), "none", "a line is not a name");
    assert_eq!(pick(&rows, &here, installed("3.10.0")), "3.10.0");
    let no_match = refused(&rows, &cluster("1.36.0", &["8.0.3"]), Request::default());
    assert_eq!(no_match.misfits[0].why, Why::Candidate);
    assert_eq!(no_match.way_out, WayOut::PinThis(Release::new(3, 10, 0)));
}

#[test]
fn what_no_operator_builds_is_not_chosen() {
    let mut rows = field();
    rows.rows[0].rendering = Rendering::Bundle;
    let here = cluster("1.36.1", &["8.0.3"]);
    let no_match = refused(&rows, &here, Request::default());
    assert_eq!(no_match.misfits[0].why, Why::NotRenderable);
    assert_eq!(no_match.way_out, WayOut::AddRow);
    assert_eq!(misfit(&rows.rows[0], &here, Channel::Candidate), Some(no_match.misfits[0].clone()));
    assert_eq!(misfit(&rows.rows[1], &cluster("1.34.1", &["8.0.3"]), Channel::Stable), None);
}

#[test]
fn a_hold_names_what_would_fit_if_the_user_said_so() {
    let newer = refused(&field(), &cluster("1.36.1", &["8.0.3"]), installed("3.9.0"));
    assert_eq!(newer.way_out, WayOut::Move(Release::new(3, 10, 0)));
    let stays = newer.stays.unwrap();
    assert_eq!(stays.release, Release::new(3, 9, 0));
    assert!(matches!(stays.why, Why::Outside(Outside::Kubernetes { .. })));

    let older = refused(&field(), &cluster("1.33.1", &["8.0.3"]), installed("3.10.0"));
    assert_eq!(older.way_out, WayOut::GoBack(Release::new(3, 9, 1)));
    // 3.9.1 fits in all but age, 3.10.0 is off by a minor.
    assert_eq!(older.misfits[0].why, Why::OlderThanInstalled { installed: Release::new(3, 10, 0) });

    let back = Request { pin: Some("3.9".parse().unwrap()), ..installed("3.10.0") };
    let back = refused(&field(), &cluster("1.34.1", &["8.0.3"]), back);
    assert_eq!((back.way_out, back.stays), (WayOut::GoBack(Release::new(3, 9, 1)), None));

    // Forward to a candidate goes before back to a release.
    let mut rows = field();
    rows.rows[0].marks.channel = Channel::Candidate;
    let stuck = Request { movement: Movement::Latest, ..installed("3.9.5") };
    let forward = refused(&rows, &cluster("1.34.1", &["8.0.3"]), stuck);
    assert_eq!(forward.way_out, WayOut::PinThis(Release::new(3, 10, 0)));

    let pin = refused(&field(), &cluster("1.36.1", &["8.0.3"]), pinned("3.9.0"));
    assert_eq!(pin.way_out, WayOut::Unpin(Release::new(3, 10, 0)));
    assert_eq!(pin.misfits.len(), 1);

    let missing = refused(&field(), &cluster("1.36.1", &["8.0.3"]), pinned("3.9.9"));
    assert_eq!(missing.misfits[0].why, Why::NotInMatrix);
    let no_line = refused(&field(), &cluster("1.36.1", &["8.0.3"]), pinned("4.0"));
    assert_eq!(no_line.misfits, []);
}

#[test]
fn what_is_installed_is_not_older_than_itself() {
    let rows =
        vec![row("3.9.0", ("1.33", "1.35"), ("7.0", "9.0")), row("3.10.0", ("1.40", "1.41"), ("7.0", "9.0"))];
    let no_match = refused(&matrix(rows), &cluster("1.36.0", &["8.0.3"]), installed("3.9.0"));
    assert_eq!(no_match.misfits[0].release, Release::new(3, 9, 0));
}

#[test]
fn the_other_driver_and_an_empty_matrix_offer_nothing() {
    let here = cluster("1.34.1", &["8.0.3"]);
    let Selection::NoMatch(no_match) = select(&field(), Driver::Cpi, &here, &Request::default()) else {
        panic!("a CSI row was chosen for CPI");
    };
    assert_eq!((no_match.misfits.len(), no_match.way_out), (0, WayOut::AddRow));
    assert_eq!(pick(&matrix(Vec::new()), &here, installed("3.9.0")), "none");
}

#[test]
fn a_caution_of_the_row_reaches_those_it_concerns() {
    let mut rows = field();
    rows.rows[2].marks.cautions.push(Caution {
        kubernetes: Range::ANY,
        vsphere: Range::only("7.0".parse().unwrap()),
        leaving: None,
        text: "try it first".into(),
    });
    let leaving = Some(Range::at_most("3.8".parse().unwrap()));
    let (kubernetes, vsphere, text) = (Range::ANY, Range::ANY, "look at your nodes".to_owned());
    rows.rows[2].marks.cautions.push(Caution { kubernetes, vsphere, leaving, text });
    for (there, cautions) in [("3.8.0", &["look at your nodes"][..]), ("3.9.0", &[]), ("3.9.1", &[])] {
        let eager = Request { movement: Movement::Latest, ..installed(there) };
        let chosen = accepted(&rows, &cluster("1.33.1", &["8.0.3"]), eager);
        assert_eq!(chosen.cautions, cautions, "from {there}");
    }
    assert_eq!(
        accepted(&rows, &cluster("1.33.1", &["8.0.3", "7.0.3"]), Request::default()).cautions,
        ["try it first"]
    );
    assert!(accepted(&rows, &cluster("1.33.1", &["8.0.3"]), Request::default()).cautions.is_empty());
}

#[test]
fn a_pin_reads_as_it_was_written() {
    for (text, shown, exact) in [
        ("3.7.0", "3.7.0", true),
        ("v3.7", "3.7", false),
        ("3", "3", false),
        ("1.37.0-rc.0", "1.37.0-rc.0", true),
    ] {
        let pin: Pin = text.parse().unwrap();
        assert_eq!((pin.to_string().as_str(), matches!(pin, Pin::Exact(_))), (shown, exact));
    }
    for text in ["newest", "3.7-3.8", "3.7.0-3.8.0", "3.7+", "3.7.0-new"] {
        assert!(text.parse::<Pin>().is_err(), "{text}");
    }
    assert_eq!(Pin::from(Release::new(3, 7, 0)), "3.7.0".parse().unwrap());
}

fn some_row() -> impl Strategy<Value = Row> {
    let bounds = (30..38u32, 0..4u32, 0..4usize, 0..4usize);
    let marks = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (bounds, (0..3u32, 0..3u32), marks).prop_map(
        |((from, more, low, high), (minor, patch), (bad, candidate, bundle))| {
            let lines = ["6.7", "7.0", "8.0", "9.0"];
            let mut row = row(
                &format!("3.{minor}.{patch}"),
                (&format!("1.{from}"), &format!("1.{}", from + more)),
                (lines[low.min(high)], lines[low.max(high)]),
            );
            row.marks.known_bad = bad.then(|| "bad".into());
            row.marks.channel = if candidate { Channel::Candidate } else { Channel::Stable };
            row.rendering = if bundle { Rendering::Bundle } else { Rendering::BuiltIn };
            row
        },
    )
}

fn some_matrix() -> impl Strategy<Value = Matrix> {
    prop::collection::vec(some_row(), 0..10).prop_map(|mut rows| {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(row.release));
        matrix(rows)
    })
}

fn some_cluster() -> impl Strategy<Value = Cluster> {
    let version = prop::sample::select(vec!["6.7.0", "6.7 U3", "7.0.3", "8.0.3.00400", "9.0.1", "9.1.0"]);
    (30..40u32, prop::collection::vec(version, 0..4))
        .prop_map(|(minor, vcenters)| cluster(&format!("1.{minor}.2"), &vcenters))
}

fn some_request() -> impl Strategy<Value = Request> {
    let release = (0..3u32, 0..3u32).prop_map(|(minor, patch)| Release::new(3, minor, patch));
    let pin = prop_oneof![
        release.clone().prop_map(Pin::Exact),
        (0..3u32).prop_map(|minor| Pin::Line(Line::new(&[3, minor]))),
    ];
    let movement = prop::sample::select(vec![Movement::Stay, Movement::Patch, Movement::Latest]);
    let channel = prop::sample::select(vec![Channel::Stable, Channel::Candidate]);
    let downgrade = prop::sample::select(vec![Downgrade::Forbid, Downgrade::Allow]);
    (prop::option::weighted(0.3, pin), prop::option::of(release), movement, channel, downgrade).prop_map(
        |(pin, installed, movement, channel, downgrade)| Request {
            pin,
            installed,
            movement,
            channel,
            downgrade,
        },
    )
}

fn holds(kubernetes: Range<KubernetesVersion>, vsphere: Range<VsphereVersion>, cluster: &Cluster) -> bool {
    kubernetes.holds(&cluster.kubernetes)
        && !cluster.vcenters.is_empty()
        && cluster.vcenters.iter().all(|vcenter| vsphere.holds(&vcenter.version))
}

fn within(row: &Row, cluster: &Cluster) -> bool {
    holds(row.kubernetes.hard.range, row.vsphere.hard.range, cluster)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_chosen_release_always_fits(rows in some_matrix(), here in some_cluster(), request in some_request()) {
        if let Selection::Chosen(chosen) = select(&rows, Driver::Csi, &here, &request) {
            prop_assert!(within(&chosen.row, &here));
            prop_assert!(rows.rows.contains(&chosen.row));
            prop_assert!(request.pin.is_none_or(|pin| pin.allows(chosen.release())));
            if request.installed != Some(chosen.release()) {
                prop_assert_eq!(&chosen.row.marks.known_bad, &None);
                prop_assert_eq!(chosen.row.rendering, Rendering::BuiltIn);
            }
        }
    }

    #[test]
    fn no_release_older_than_the_installed_one_is_chosen_unless_a_pin_leaves_it_out_and_that_is_allowed(
        rows in some_matrix(), here in some_cluster(), request in some_request(),
    ) {
        if let (Selection::Chosen(chosen), Some(installed)) = (select(&rows, Driver::Csi, &here, &request), request.installed) {
            let asked = request.downgrade == Downgrade::Allow && request.pin.is_some_and(|pin| !pin.allows(installed));
            prop_assert!(asked || chosen.release() >= installed);
        }
    }

    #[test]
    fn what_is_installed_moves_only_if_it_was_asked_to(
        rows in some_matrix(), here in some_cluster(), request in some_request(),
    ) {
        if let (Selection::Chosen(chosen), Some(installed)) = (select(&rows, Driver::Csi, &here, &request), request.installed) {
            let left_out = request.pin.is_some_and(|pin| !pin.allows(installed));
            let may = match request.movement {
                Movement::Stay => false,
                Movement::Patch => chosen.release().line() == installed.line(),
                Movement::Latest => true,
            };
            prop_assert!(left_out || may || chosen.release() == installed);
        }
    }

    #[test]
    fn the_order_of_vcenters_and_rows_does_not_matter(
        rows in some_matrix(), here in some_cluster(), request in some_request(),
    ) {
        let mut turned = here.clone();
        turned.vcenters.reverse();
        let mut shuffled = rows.clone();
        shuffled.rows.reverse();
        prop_assert_eq!(select(&rows, Driver::Csi, &here, &request), select(&shuffled, Driver::Csi, &turned, &request));
    }

    #[test]
    fn a_row_that_does_not_fit_changes_no_choice(
        rows in some_matrix(), extra in some_row(), here in some_cluster(), request in some_request(),
    ) {
        prop_assume!(!within(&extra, &here));
        // The most tempting place: a newer patch of a line that is there.
        let (major, minor, _) = extra.release.triple();
        let extra = Row { release: Release::new(major, minor, 9), ..extra };
        let before = select(&rows, Driver::Csi, &here, &request);
        let mut more = rows.clone();
        more.rows.push(extra);
        let after = select(&more, Driver::Csi, &here, &request);
        match (before, after) {
            (Selection::Chosen(before), Selection::Chosen(after)) => prop_assert_eq!(before.row, after.row),
            (Selection::NoMatch(_), Selection::NoMatch(_)) => {}
            (before, after) => prop_assert!(false, "{before:?} became {after:?}"),
        }
    }

    #[test]
    fn a_refusal_has_a_misfit_for_every_row_that_does_not_fit(rows in some_matrix(), here in some_cluster(), request in some_request()) {
        if let Selection::NoMatch(no_match) = select(&rows, Driver::Csi, &here, &request) {
            let pool = rows.rows.iter().filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release))).count();
            let unknown = usize::from(pool == 0 && matches!(request.pin, Some(Pin::Exact(_))));
            let fits = pool + unknown - no_match.misfits.len();
            // One that fits is not taken only because nothing may move.
            prop_assert_eq!(fits > 0, matches!(no_match.way_out, WayOut::Move(_)));
        }
    }

    #[test]
    fn the_way_out_leads_out(rows in some_matrix(), here in some_cluster(), request in some_request()) {
        let Selection::NoMatch(no_match) = select(&rows, Driver::Csi, &here, &request) else { return Ok(()) };
        let promised = match no_match.way_out {
            WayOut::Unpin(release)
            | WayOut::Move(release)
            | WayOut::PinThis(release)
            | WayOut::Repin(release)
            | WayOut::GoBack(release) => Some(release),
            WayOut::ReadVcenters => {
                prop_assert!(here.vcenters.is_empty());
                None
            }
            WayOut::AddRow => {
                let fits = |row: &Row| within(row, &here) && row.marks.known_bad.is_none() && row.rendering == Rendering::BuiltIn;
                prop_assert!(!rows.rows.iter().any(fits));
                None
            }
        };
        prop_assert_eq!(no_match.changes.is_empty(), promised.is_none());
        for change in &no_match.changes {
            match select(&rows, Driver::Csi, &here, &change.of(&request)) {
                // With candidates offered there may be a better one, or none that moves so far.
                Selection::Chosen(_) if *change == Change::OfferCandidates => {}
                Selection::Chosen(chosen) => prop_assert_eq!(Some(chosen.release()), promised),
                Selection::NoMatch(still) => prop_assert!(false, "{change:?}: {still:?}"),
            }
        }
    }

    #[test]
    fn the_built_in_matrix_keeps_these_promises_too(
        minor in 26..40u32, vsphere in prop::sample::select(vec!["6.7 U3", "7.0.3", "8.0.3", "9.0.0", "9.1.0"]),
    ) {
        let here = cluster(&format!("1.{minor}.0"), &[vsphere]);
        for driver in [Driver::Cpi, Driver::Csi] {
            let window = |row: &&Row| holds(row.kubernetes.window().range, row.vsphere.window().range, &here);
            let newest = builtin::matrix().rows_of(driver).filter(window).map(|row| row.release).max();
            let choice = match select(builtin::matrix(), driver, &here, &Request::default()) {
                Selection::Chosen(chosen) => Some(chosen.release()),
                Selection::NoMatch(_) => None,
            };
            if newest.is_some() {
                prop_assert_eq!(choice, newest);
            }
            let fits = builtin::matrix().rows_of(driver).any(|row| within(row, &here));
            prop_assert_eq!(choice.is_some(), fits);
        }
    }
}
