use proptest::prelude::*;

use super::*;
use crate::builtin;
use crate::matrix::{Backing, Caution, Evidence, Grade, Marks, Source};

pub(crate) fn row(release: &str, kubernetes: (&str, &str), vsphere: (&str, &str)) -> Row {
    let stated = || Backing { grade: Grade::Stated, reference: "here".into() };
    Row {
        driver: Driver::Csi,
        release: release.parse().unwrap(),
        kubernetes: Range::between(kubernetes.0.parse().unwrap(), kubernetes.1.parse().unwrap()),
        vsphere: Range::between(vsphere.0.parse().unwrap(), vsphere.1.parse().unwrap()),
        needs_cpi: true,
        rendering: Rendering::BuiltIn,
        marks: Marks::default(),
        deployment_path: Vec::new(),
        evidence: Evidence { kubernetes: stated(), vsphere: stated() },
    }
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
    let named = |(at, version): (usize, &&str)| Vcenter {
        name: format!("vc-{}", at + 1),
        version: version.parse().unwrap(),
    };
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
        Selection::NoMatch(no_match) => no_match,
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
fn what_is_installed_stays_while_it_fits() {
    for (kubernetes, request, release) in [
        ("1.34.1", installed("3.8.0"), "3.8.0"),
        ("1.34.1", installed("3.9.0"), "3.9.0"),
        ("1.34.1", installed("3.10.0"), "3.10.0"),
        // It no longer fits: the newest that does, and is not older.
        ("1.35.0", installed("3.8.0"), "3.10.0"),
        ("1.36.0", installed("3.9.0"), "3.10.0"),
        // Not in the matrix at all.
        ("1.34.1", installed("3.7.0"), "3.10.0"),
        ("1.33.1", installed("3.8.5"), "3.9.1"),
        // Nothing that fits is as new: a hold, never a step back.
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
fn asked_to_move_it_goes_to_the_newest_and_never_back() {
    for (kubernetes, from, to) in [
        ("1.34.1", "3.8.0", "3.10.0"),
        ("1.33.1", "3.9.0", "3.9.1"),
        ("1.33.1", "3.9.1", "3.9.1"),
        ("1.33.1", "3.10.0", "none"),
    ] {
        let request = Request { movement: Movement::Newest, ..installed(from) };
        assert_eq!(pick(&field(), &cluster(kubernetes, &["8.0.3"]), request), to, "{kubernetes} from {from}");
    }
}

#[test]
fn a_pin_names_the_only_release_and_may_go_back() {
    let with = |pin: &str, there: &str| Request { pin: Some(pin.parse().unwrap()), ..installed(there) };
    for (kubernetes, request, release) in [
        ("1.34.1", pinned("3.9.0"), "3.9.0"),
        ("1.34.1", pinned("v3.8.0"), "3.8.0"),
        ("1.34.1", with("3.10.0", "3.8.0"), "3.10.0"),
        ("1.34.1", with("3.8.0", "3.10.0"), "3.8.0"),
        ("1.34.1", with("3.9.0", "3.9.0"), "3.9.0"),
        // A pin is a wish, not a proof.
        ("1.36.1", pinned("3.9.0"), "none"),
        ("1.36.1", with("3.9.0", "3.9.0"), "none"),
        ("1.34.1", pinned("3.9.7"), "none"),
        ("1.34.1", pinned("3.9.0-rc.1"), "none"),
        // A line: its newest, and within it never back.
        ("1.34.1", pinned("3.9"), "3.9.1"),
        ("1.34.1", pinned("3"), "3.10.0"),
        ("1.34.1", with("3.9", "3.9.0"), "3.9.0"),
        ("1.34.1", with("3.9", "3.9.2"), "none"),
        ("1.34.1", with("3.9", "3.10.0"), "3.9.1"),
        ("1.34.1", with("3.9", "3.8.0"), "3.9.1"),
        ("1.34.1", pinned("3.11"), "none"),
    ] {
        assert_eq!(
            pick(&field(), &cluster(kubernetes, &["8.0.3"]), request),
            release,
            "{kubernetes} {request:?}"
        );
    }
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

    let moved = accepted(&field(), &cluster("1.35.0", &["8.0.3"]), installed("3.8.0"));
    assert!(matches!(moved.left.unwrap().why, Why::KubernetesAbove { .. }));

    let unknown = accepted(&field(), &here, installed("3.7.0"));
    assert_eq!(unknown.left.unwrap().why, Why::NotInMatrix);
}

#[test]
fn the_first_failing_bound_is_named_with_its_vcenter() {
    let rows = matrix(vec![row("3.9.0", ("1.33", "1.35"), ("7.0", "8.0"))]);
    let why = |kubernetes: &str, vcenters: &[&str]| {
        refused(&rows, &cluster(kubernetes, vcenters), Request::default()).misfits.remove(0).why
    };
    let needs = rows.rows[0].kubernetes;
    assert_eq!(
        why("1.32.9", &["8.0.3"]),
        Why::KubernetesBelow { needs, runs: KubernetesVersion::new(1, 32, 9) }
    );
    assert_eq!(
        why("1.36.3", &["6.5.0"]),
        Why::KubernetesAbove { needs, runs: KubernetesVersion::new(1, 36, 3) }
    );
    let needs = rows.rows[0].vsphere;
    let (vcenter, runs) = ("vc-2".to_owned(), VsphereVersion::new(6, 7, 3));
    assert_eq!(why("1.34.0", &["8.0.3", "6.7 U3"]), Why::VsphereBelow { vcenter, needs, runs });
    let (vcenter, runs) = ("vc-1".to_owned(), VsphereVersion::new(9, 0, 0));
    assert_eq!(why("1.34.0", &["9.0", "6.7 U3"]), Why::VsphereAbove { vcenter, needs, runs });
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
fn what_is_known_bad_is_not_installed_and_not_torn_out() {
    let mut rows = field();
    rows.rows[0].marks.known_bad = Some("loses snapshots".into());
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(pick(&rows, &here, Request::default()), "3.9.1");
    assert_eq!(pick(&rows, &here, pinned("3.10.0")), "none");
    assert_eq!(pick(&rows, &here, installed("3.10.0")), "3.10.0");
    let eager = Request { movement: Movement::Newest, ..installed("3.10.0") };
    assert_eq!(pick(&rows, &here, eager), "3.10.0", "nothing newer is good, and there is no way back");
    rows.rows.push(row("3.10.1", ("1.34", "1.36"), ("8.0", "9.0")));
    assert_eq!(pick(&rows, &here, eager), "3.10.1");
    let no_match = refused(&rows, &here, pinned("3.10.0"));
    assert_eq!(no_match.misfits[0].why, Why::KnownBad { reason: "loses snapshots".into() });
    assert_eq!(no_match.way_out, WayOut::Unpin(Release::new(3, 10, 1)));
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
    let older = refused(&field(), &cluster("1.33.1", &["8.0.3"]), installed("3.10.0"));
    assert_eq!(older.way_out, WayOut::PinThis(Release::new(3, 9, 1)));
    // 3.9.1 fits in all but age, 3.10.0 is off by a minor.
    assert_eq!(older.misfits[0].why, Why::OlderThanInstalled { installed: Release::new(3, 10, 0) });

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
        text: "try it first".into(),
    });
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
    assert!("newest".parse::<Pin>().is_err());
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
    let movement = prop::sample::select(vec![Movement::Stay, Movement::Newest]);
    let channel = prop::sample::select(vec![Channel::Stable, Channel::Candidate]);
    (prop::option::weighted(0.3, pin), prop::option::of(release), movement, channel)
        .prop_map(|(pin, installed, movement, channel)| Request { pin, installed, movement, channel })
}

fn within(row: &Row, cluster: &Cluster) -> bool {
    row.kubernetes.holds(&cluster.kubernetes)
        && !cluster.vcenters.is_empty()
        && cluster.vcenters.iter().all(|vcenter| row.vsphere.holds(&vcenter.version))
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
    fn no_release_older_than_the_installed_one_is_chosen_without_a_pin(
        rows in some_matrix(), here in some_cluster(), request in some_request(),
    ) {
        let request = Request { pin: None, ..request };
        if let (Selection::Chosen(chosen), Some(installed)) = (select(&rows, Driver::Csi, &here, &request), request.installed) {
            prop_assert!(chosen.release() >= installed);
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
    fn a_refusal_has_a_misfit_for_every_row(rows in some_matrix(), here in some_cluster(), request in some_request()) {
        if let Selection::NoMatch(no_match) = select(&rows, Driver::Csi, &here, &request) {
            let pool = rows.rows.iter().filter(|row| request.pin.is_none_or(|pin| pin.allows(row.release))).count();
            let unknown = usize::from(pool == 0 && matches!(request.pin, Some(Pin::Exact(_))));
            prop_assert_eq!(no_match.misfits.len(), pool + unknown);
        }
    }

    #[test]
    fn the_way_out_leads_out(rows in some_matrix(), here in some_cluster(), request in some_request()) {
        let Selection::NoMatch(no_match) = select(&rows, Driver::Csi, &here, &request) else { return Ok(()) };
        let (next, promised) = match no_match.way_out {
            WayOut::Unpin(release) => (Request { pin: None, ..request }, release),
            WayOut::PinThis(release) => (Request { pin: Some(release.into()), ..request }, release),
            WayOut::ReadVcenters => {
                prop_assert!(here.vcenters.is_empty());
                return Ok(());
            }
            WayOut::AddRow => {
                let fits = |row: &Row| within(row, &here) && row.marks.known_bad.is_none() && row.rendering == Rendering::BuiltIn;
                prop_assert!(!rows.rows.iter().any(fits));
                return Ok(());
            }
        };
        match select(&rows, Driver::Csi, &here, &next) {
            Selection::Chosen(chosen) => prop_assert_eq!(chosen.release(), promised),
            Selection::NoMatch(still) => prop_assert!(false, "{still:?}"),
        }
    }

    #[test]
    fn the_built_in_matrix_keeps_these_promises_too(
        minor in 26..40u32, vsphere in prop::sample::select(vec!["6.7 U3", "7.0.3", "8.0.3", "9.0.0", "9.1.0"]),
    ) {
        let here = cluster(&format!("1.{minor}.0"), &[vsphere]);
        for driver in [Driver::Cpi, Driver::Csi] {
            let newest = builtin::matrix().rows_of(driver).filter(|row| within(row, &here)).map(|row| row.release).max();
            let choice = match select(builtin::matrix(), driver, &here, &Request::default()) {
                Selection::Chosen(chosen) => Some(chosen.release()),
                Selection::NoMatch(_) => None,
            };
            prop_assert_eq!(choice, newest);
        }
    }
}
