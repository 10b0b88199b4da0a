use super::*;
use crate::builtin;
use crate::cluster::Cluster;
use crate::matrix::{Channel, Driver, Matrix};
use crate::range::Range;
use crate::select::tests::{cluster, made_for, matrix, row};
use crate::select::{Movement, Request, select};

fn said(matrix: &Matrix, here: &Cluster, request: Request) -> String {
    selection(&select(matrix, Driver::Csi, here, &request))
}

fn field() -> Matrix {
    matrix(vec![
        row("3.6.0", ("1.31", "1.34"), ("7.0", "8.0")),
        row("3.7.0", ("1.32", "1.35"), ("7.0", "8.0")),
        row("3.7.1", ("1.32", "1.35"), ("7.0", "8.0")),
    ])
}

fn installed(release: &str) -> Request {
    Request { installed: Some(release.parse().unwrap()), ..Request::default() }
}

fn pinned(pin: &str) -> Request {
    Request { pin: Some(pin.parse().unwrap()), ..Request::default() }
}

const ADD_A_ROW: &str = "add a row to the matrix for a release that you know to work here, or move the cluster into the bounds of a row";

#[test]
fn a_choice_is_told_in_one_line() {
    let here = cluster("1.34.2", &["8.0.3"]);
    for (request, words) in [
        (Request::default(), "CSI 3.7.1 is the newest release that fits"),
        (
            installed("3.6.0"),
            "CSI 3.6.0 is installed and fits; 3.7.1 fits too, set spec.storageProvider.version to move",
        ),
        (
            Request { movement: Movement::Latest, ..installed("3.6.0") },
            "CSI 3.7.1 is the newest release that fits",
        ),
        (
            pinned("3.7.0"),
            "CSI 3.7.0 is what spec.storageProvider.version asks for, and it fits; 3.7.1 fits too, set \
             spec.storageProvider.version to move",
        ),
        // Not the newest release: it may not leave its line.
        (
            Request { movement: Movement::Patch, ..installed("3.6.0-rc.1") },
            "CSI 3.6.0 is the newest patch that fits; what is installed no longer fits: CSI 3.6.0-rc.1 has no row in the \
             matrix; 3.7.1 fits too, set spec.storageProvider.version to move",
        ),
        (
            Request { movement: Movement::Patch, ..installed("3.7.0") },
            "CSI 3.7.1 is the newest release that fits",
        ),
    ] {
        assert_eq!(said(&field(), &here, request), words);
    }
    assert_eq!(
        said(
            &field(),
            &cluster("1.35.0", &["8.0.3"]),
            Request { movement: Movement::Latest, ..installed("3.6.0") }
        ),
        "CSI 3.7.1 is the newest release that fits; what is installed no longer fits: CSI 3.6.0 needs Kubernetes 1.31 \
         to 1.34, the cluster runs 1.35.0"
    );
}

#[test]
fn what_is_installed_and_does_not_fit_is_told_with_what_does() {
    assert_eq!(
        said(&field(), &cluster("1.35.0", &["8.0.3"]), installed("3.6.0")),
        "CSI 3.6.0 is installed and does not fit: CSI 3.6.0 needs Kubernetes 1.31 to 1.34, the cluster runs 1.35.0; it \
         stays installed. To go on, set spec.storageProvider.version to 3.7.1, which fits"
    );
}

#[test]
fn a_cluster_outside_of_what_is_recommended_is_told_so() {
    let rows = matrix(vec![made_for(("1.33", "1.35"), row("3.7.0", ("1.27", "1.40"), ("7.0", "9.0")))]);
    assert_eq!(
        said(&rows, &cluster("1.37.0", &["8.0.3"]), Request::default()),
        "CSI 3.7.0 is the nearest release that can run here; note: CSI 3.7.0 is made for Kubernetes 1.33 to 1.35, the \
         cluster runs 1.37.0"
    );
    let rows = matrix(vec![
        made_for(("1.33", "1.34"), row("3.7.0", ("1.27", "1.40"), ("7.0", "9.0"))),
        made_for(("1.33", "1.34"), row("3.7.1", ("1.27", "1.40"), ("7.0", "9.0"))),
        made_for(("1.33", "1.35"), row("3.8.0", ("1.27", "1.40"), ("7.0", "9.0"))),
    ]);
    assert_eq!(
        said(
            &rows,
            &cluster("1.37.0", &["8.0.3"]),
            Request { movement: Movement::Patch, ..installed("3.7.0") }
        ),
        "CSI 3.7.1 is the nearest patch that can run here; 3.8.0 fits too, set spec.storageProvider.version to move; \
         note: CSI 3.7.1 is made for Kubernetes 1.33 to 1.34, the cluster runs 1.37.0"
    );
}

#[test]
fn a_refusal_names_the_nearest_row_the_bound_and_what_to_do() {
    assert_eq!(
        said(&field(), &cluster("1.36.3", &["8.0.3"]), Request::default()),
        format!(
            "no CSI release fits: nearest row CSI 3.7.1 needs Kubernetes 1.32 to 1.35, the cluster runs 1.36.3; CSI \
             3.6.0 needs Kubernetes 1.31 to 1.34, the cluster runs 1.36.3; and 1 more row. To go on, {ADD_A_ROW}"
        )
    );
    assert_eq!(
        said(&field(), &cluster("1.34.1", &["8.0.3", "9.0.1"]), installed("3.6.0")),
        format!(
            "no CSI release fits: nearest row CSI 3.7.1 needs vSphere 7.0 to 8.0, vCenter vc-2 runs 9.0.1; and 2 more \
             rows; CSI 3.6.0 stays installed. To go on, {ADD_A_ROW}"
        )
    );
}

#[test]
fn a_pin_that_does_not_fit_is_told_apart() {
    let here = cluster("1.35.3", &["8.0.3"]);
    assert_eq!(
        said(&field(), &here, pinned("3.6.0")),
        "CSI 3.6.0, which spec.storageProvider.version asks for, does not fit: nearest row CSI 3.6.0 needs Kubernetes \
         1.31 to 1.34, the cluster runs 1.35.3. To go on, remove spec.storageProvider.version, which gives 3.7.1, or \
         set it to a release that fits"
    );
    assert_eq!(
        said(&field(), &here, pinned("3.9.9")),
        "CSI 3.9.9, which spec.storageProvider.version asks for, does not fit: CSI 3.9.9 has no row in the matrix. To \
         go on, remove spec.storageProvider.version, which gives 3.7.1, or set it to a release that fits"
    );
    assert_eq!(
        said(&field(), &here, pinned("4")),
        "CSI 4, which spec.storageProvider.version asks for, does not fit: the matrix has no row for it. To go on, \
         remove spec.storageProvider.version, which gives 3.7.1, or set it to a release that fits"
    );
}

#[test]
fn a_step_back_is_offered_and_not_taken() {
    assert_eq!(
        said(&field(), &cluster("1.31.5", &["8.0.3"]), installed("3.7.1")),
        "no CSI release fits: nearest row CSI 3.6.0 is older than the installed 3.7.1; CSI 3.7.1 needs Kubernetes 1.32 \
         to 1.35, the cluster runs 1.31.5; and 1 more row; CSI 3.7.1 stays installed. To go on, set \
         spec.storageProvider.version to 3.6.0, which fits, and spec.storageProvider.downgrade to Allow: that goes back \
         to an older release"
    );
    let back = Request { pin: Some("3.6.0".parse().unwrap()), ..installed("3.7.1") };
    assert_eq!(
        said(&field(), &cluster("1.34.5", &["8.0.3"]), back),
        "CSI 3.6.0, which spec.storageProvider.version asks for, does not fit: nearest row CSI 3.6.0 is older than the \
         installed 3.7.1; CSI 3.7.1 stays installed. To go on, set spec.storageProvider.downgrade to Allow: that goes \
         back to an older release"
    );
}

#[test]
fn a_line_that_holds_what_is_installed_is_left_for_a_named_release_to_go_back() {
    let line = Request { pin: Some("3.7".parse().unwrap()), ..installed("3.7.2") };
    assert_eq!(
        said(&field(), &cluster("1.34.5", &["8.0.3"]), line),
        "CSI 3.7, which spec.storageProvider.version asks for, does not fit: nearest row CSI 3.7.1 is older than the \
         installed 3.7.2; and 1 more row; CSI 3.7.2 stays installed. To go on, set spec.storageProvider.version to \
         3.7.1, which fits, and spec.storageProvider.downgrade to Allow: that goes back to an older release"
    );
    let allowed = Request { downgrade: crate::select::Downgrade::Allow, ..installed("3.7.1") };
    let said = said(&field(), &cluster("1.31.5", &["8.0.3"]), allowed);
    assert!(
        said.ends_with(
            "set spec.storageProvider.version to 3.6.0, which fits: that goes back to an older release"
        ),
        "{said}"
    );
}

#[test]
fn that_what_is_installed_is_known_bad_is_told_where_it_is_left_and_where_it_is_held() {
    let mut marked = field();
    marked.rows[1].marks.known_bad = Some("it loses snapshots".into());
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(
        said(&marked, &here, Request { movement: Movement::Patch, ..installed("3.7.0") }),
        "CSI 3.7.1 is the newest release that fits; the installed 3.7.0 is known to be bad: it loses snapshots"
    );
    assert_eq!(
        said(&marked, &here, installed("3.7.0")),
        "CSI 3.7.0 is installed and fits; it is known to be bad: it loses snapshots; 3.7.1 fits too, set \
         spec.storageProvider.version to move"
    );
    let held = said(&marked, &cluster("1.36.1", &["8.0.3"]), installed("3.7.0"));
    assert!(
        held.contains(
            "; CSI 3.7.0 stays installed, though it is known to be bad: it loses snapshots. To go on"
        ),
        "{held}"
    );
    marked.rows[0].marks.known_bad = Some("it hangs".into());
    assert_eq!(
        said(&marked, &cluster("1.35.0", &["8.0.3"]), installed("3.6.0")),
        "CSI 3.6.0 is installed and does not fit: CSI 3.6.0 needs Kubernetes 1.31 to 1.34, the cluster runs 1.35.0; it \
         stays installed, though it is known to be bad: it hangs. To go on, set spec.storageProvider.version to 3.7.1, \
         which fits"
    );
}

#[test]
fn reasons_of_the_greatest_length_leave_room_for_what_to_do() {
    let mut marked = field();
    for row in &mut marked.rows {
        row.marks.known_bad = Some("ü".repeat(512));
    }
    marked.rows[0].kubernetes.hard.range = Range::ANY;
    let held = said(&marked, &cluster("1.36.1", &["8.0.3"]), installed("3.7.0"));
    assert!(held.contains(&"ü".repeat(512)) && held.ends_with(ADD_A_ROW), "{held}");
    let beside = format!("though it is known to be bad: {}…. To go on", "ü".repeat(REASON - 1));
    assert!(held.contains(&beside), "{held}");
    assert_eq!(cut(&"ü".repeat(REASON), REASON), "ü".repeat(REASON));
}

#[test]
fn candidates_are_offered_only_where_that_leads_to_one() {
    let mut marked = field();
    marked.rows[2].marks.channel = Channel::Candidate;
    marked.rows.remove(1);
    let here = cluster("1.35.1", &["8.0.3"]);
    let pin = "To go on, set spec.storageProvider.version to 3.7.1, which is a candidate and fits";
    let both = format!("{pin}, or set spec.storageProvider.channel to Candidate");
    for (movement, remedy) in
        [(Movement::Stay, pin), (Movement::Patch, pin), (Movement::Latest, both.as_str())]
    {
        let said = said(&marked, &here, Request { movement, ..installed("3.6.0") });
        assert!(said.ends_with(remedy), "{said}");
    }
    assert!(said(&marked, &here, Request::default()).ends_with(&both));
}

#[test]
fn an_unread_vcenter_an_empty_matrix_and_marks_have_their_own_words() {
    assert_eq!(
        said(&field(), &cluster("1.34.1", &[]), Request::default()),
        "no CSI release fits: nearest row CSI 3.7.1 needs the version of a vCenter, and none was read yet; and 2 more \
         rows. To go on, see the conditions of the VsphereCloudConfigs: no vCenter was read yet"
    );
    let here = cluster("1.34.1", &["8.0.3"]);
    assert_eq!(
        said(&matrix(Vec::new()), &here, Request::default()),
        format!("no CSI release fits: the matrix has no row for it. To go on, {ADD_A_ROW}")
    );
    let mut marked = field();
    marked.rows.remove(0);
    marked.rows[0].marks.channel = Channel::Candidate;
    marked.rows[1].marks.known_bad = Some("it loses snapshots".into());
    assert_eq!(
        said(&marked, &here, Request::default()),
        "no CSI release fits: nearest row CSI 3.7.1 is known to be bad: it loses snapshots; CSI 3.7.0 is a candidate. \
         To go on, set spec.storageProvider.version to 3.7.0, which is a candidate and fits, or set \
         spec.storageProvider.channel to Candidate"
    );
    assert_eq!(
        said(&marked, &here, installed("3.7.1")),
        "CSI 3.7.1 is installed and fits; it is known to be bad: it loses snapshots"
    );
    marked.rows[1].rendering = crate::matrix::Rendering::Bundle;
    marked.rows[1].marks.known_bad = None;
    assert!(
        said(&marked, &here, pinned("3.7.1"))
            .contains("CSI 3.7.1 is a release that these operators cannot build")
    );
}

#[test]
fn a_message_names_five_rows_and_counts_the_rest() {
    let rows =
        (0..200).map(|at| row(&format!("3.0.{at}"), ("1.20", &format!("1.{}", 21 + at % 9)), ("7.0", "8.0")));
    let message = said(&matrix(rows.collect()), &cluster("1.36.3", &["8.0.3"]), Request::default());
    assert_eq!(message.matches("needs Kubernetes").count(), SHOWN, "{message}");
    assert!(message.contains("; and 195 more rows. To go on"), "{message}");
    assert!(message.len() < 1_024, "{} bytes", message.len());
}

#[test]
fn a_message_fits_its_field_and_still_says_what_to_do() {
    let rows =
        (0..9).map(|at| row(&format!("3.0.{at}"), ("1.20", "1.40"), ("6.0", &format!("6.{}", at + 1))));
    let mut here = cluster("1.36.3", &["8.0.3"]);
    for (length, named) in [(20, 5), (230, 2), (600, 1)] {
        here.vcenters[0].name = "ü".repeat(length);
        let message = said(&matrix(rows.clone().collect()), &here, Request::default());
        assert!(message.chars().count() <= LONGEST, "{message}");
        assert_eq!(message.matches("needs vSphere").count(), named, "{message}");
        assert!(
            message.contains(&format!("and {} more rows", 9 - named)) && message.ends_with(ADD_A_ROW),
            "{message}"
        );
    }
    here.vcenters[0].name = "ü".repeat(5_000);
    let message = said(&matrix(rows.collect()), &here, Request::default());
    assert_eq!((message.chars().count(), message.ends_with('…')), (LONGEST, true));
}

#[test]
fn the_built_in_cautions_are_said() {
    let cpi = select(builtin::matrix(), Driver::Cpi, &cluster("1.36.2", &["8.0.3"]), &installed("1.35.1"));
    assert_eq!(
        selection(&cpi),
        "CPI 1.35.1 is installed and fits; 1.36.0 fits too, set spec.cloudProvider.version to move; note: CPI 1.35 is \
         made for Kubernetes 1.35; one minor behind the API server is within Kubernetes' skew policy, but move CPI \
         before the kubelets"
    );
    let csi = said(builtin::matrix(), &cluster("1.35.2", &["7.0.3"]), Request::default());
    assert!(csi.contains("note: CSI 3.8.0 is built with FIPS TLS"), "{csi}");
}
