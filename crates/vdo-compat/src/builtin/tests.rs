use std::collections::BTreeSet;

use super::{CSI, matrix, renders};
use crate::answer::Selection;
use crate::cluster::{Cluster, Vcenter};
use crate::matrix::{Bounds, Driver, Grade, Row, Source};
use crate::select::{Request, select};
use crate::version::{KubernetesVersion, Release, Version, VsphereVersion};

fn chosen(driver: Driver, kubernetes: &str, vsphere: &str) -> Option<String> {
    let cluster = Cluster {
        kubernetes: kubernetes.parse().unwrap(),
        vcenters: vec![Vcenter::new("vc-1", vsphere.parse().unwrap())],
    };
    match select(matrix(), driver, &cluster, &Request::default()) {
        Selection::Chosen(chosen) => Some(chosen.release().to_string()),
        Selection::NoMatch(_) => None,
    }
}

#[test]
fn the_newest_release_for_each_kubernetes_is_the_documented_one() {
    for (kubernetes, cpi, csi) in [
        ("1.19.16", None, None),
        // Nothing is made for it; the nearest can run.
        ("1.25.16", None, Some("3.1.2")),
        ("1.26.15", None, Some("3.1.2")),
        ("1.27.16", None, Some("3.2.0")),
        ("1.28.9", Some("1.28.1"), Some("3.3.1")),
        ("1.29.14", Some("1.29.0"), Some("3.3.1")),
        ("1.30.14", Some("1.30.2"), Some("3.4.0")),
        ("1.31.9", Some("1.31.1"), Some("3.5.1")),
        ("1.32.13", Some("1.32.3"), Some("3.6.3")),
        ("1.33.4", Some("1.33.1"), Some("3.7.3")),
        ("1.34.7", Some("1.34.0"), Some("3.8.0")),
        ("1.35.3", Some("1.35.1"), Some("3.8.0")),
        ("1.36.2", Some("1.36.0"), Some("3.8.0")),
        ("1.37.0", Some("1.37.0"), Some("3.8.0")),
        ("1.38.0", Some("1.37.0"), Some("3.8.0")),
        ("1.39.0", Some("1.37.0"), Some("3.8.0")),
    ] {
        assert_eq!(chosen(Driver::Cpi, kubernetes, "8.0.3").as_deref(), cpi, "CPI on {kubernetes}");
        assert_eq!(chosen(Driver::Csi, kubernetes, "8.0.3").as_deref(), csi, "CSI on {kubernetes}");
    }
}

#[test]
fn the_floor_of_cpi_is_six_seven_update_three_and_that_of_csi_is_seven() {
    for (vsphere, cpi, csi) in [
        ("6.5.0", None, None),
        ("6.7.0", None, None),
        // 3.1.2 is the last one that runs there, far from what it is made for.
        ("6.7 U3", Some("1.33.1"), Some("3.1.2")),
        ("7.0.0", Some("1.33.1"), Some("3.7.3")),
        ("7.0.3.01400", Some("1.33.1"), Some("3.7.3")),
        ("8.0.3.00400", Some("1.33.1"), Some("3.7.3")),
        ("9.0.1", Some("1.33.1"), Some("3.7.3")),
        ("9.1.0", Some("1.33.1"), Some("3.7.3")),
        ("9.2.0", Some("1.33.1"), Some("3.7.3")),
    ] {
        assert_eq!(chosen(Driver::Cpi, "1.33.4", vsphere).as_deref(), cpi, "CPI on vSphere {vsphere}");
        assert_eq!(chosen(Driver::Csi, "1.33.4", vsphere).as_deref(), csi, "CSI on vSphere {vsphere}");
    }
    assert_eq!(chosen(Driver::Csi, "1.32.1", "9.0.0").as_deref(), Some("3.6.3"));
    // 3.6 was never said to work with 9.1, nor 3.4 with 9: the release that comes nearest.
    assert_eq!(chosen(Driver::Csi, "1.32.1", "9.1.0").as_deref(), Some("3.7.3"));
    assert_eq!(chosen(Driver::Csi, "1.30.1", "9.0.0").as_deref(), Some("3.5.1"));
}

fn sound<V: Version>(bounds: &Bounds<V>, row: &Row) {
    for bound in [Some(&bounds.hard), bounds.recommended.as_ref()].into_iter().flatten() {
        let name = format!("{} {}", row.driver, row.release);
        assert!(!bound.range.is_inverted(), "{name}");
        assert!(bound.evidence.grade > Grade::Stated && !bound.evidence.reference.is_empty(), "{name}");
    }
}

#[test]
fn it_holds_each_release_once_and_only_what_is_pullable() {
    let mut seen = BTreeSet::new();
    for row in &matrix().rows {
        assert!(seen.insert((row.driver, row.release)), "{} {} twice", row.driver, row.release);
        sound(&row.kubernetes, row);
        sound(&row.vsphere, row);
        assert!(row.source.is_some(), "{} {}", row.driver, row.release);
        assert_eq!(row.needs_cpi, row.driver == Driver::Csi);
    }
    assert_eq!(seen.len(), 34);
    // Tags that never became an image, and release candidates that never became a release.
    for never in ["3.4.1", "3.6.4", "3.2.1", "3.1.1"] {
        assert!(!renders(Driver::Csi, never.parse().unwrap()), "CSI {never}");
    }
    for never in ["1.27.0", "1.29.1", "1.29.2", "1.33.2", "1.34.1", "1.36.1"] {
        assert!(!renders(Driver::Cpi, never.parse().unwrap()), "CPI {never}");
    }
    assert!(renders(Driver::Cpi, Release::new(1, 32, 0)), "an image without a tag");
    assert!(!renders(Driver::Csi, Release::new(1, 36, 0)), "a CPI release is no CSI release");
}

#[test]
fn what_the_makers_did_not_write_down_is_called_inferred() {
    for row in matrix().rows_of(Driver::Cpi) {
        // The README of CPI promises the same minor alone; the step behind the API server is Kubernetes' own policy, and
        // that any step works is only seen.
        let evidence = [&row.kubernetes.hard.evidence, &row.kubernetes.window().evidence];
        for evidence in evidence {
            assert_eq!(evidence.grade, Grade::Inferred, "{}", row.release);
            assert!(evidence.reference.contains("version-skew-policy"), "{}", row.release);
        }
    }
    for row in matrix().rows_of(Driver::Csi).filter(|row| row.release.line() == (3, 6)) {
        let evidence = &row.vsphere.window().evidence;
        assert_eq!(evidence.grade, Grade::Inferred, "{}", row.release);
        assert!(evidence.reference.contains("openshift"), "{}", row.release);
    }
}

#[test]
fn every_csi_line_supports_three_kubernetes_minors() {
    for facts in &CSI {
        let (oldest, newest) = facts.kubernetes;
        assert_eq!(newest - oldest, 2, "{:?}", facts.release);
    }
}

#[test]
fn its_digest_is_short_and_the_same_each_time() {
    let digest = &matrix().digest;
    assert_eq!((digest.len(), matrix().source), (16, Source::BuiltIn));
    assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let again = crate::matrix::short_digest(&serde_json::to_vec(&matrix().rows).unwrap());
    assert_eq!(*digest, again);
    // Known answer of SHA-256 for the empty input.
    assert_eq!(crate::matrix::short_digest(b""), "e3b0c44298fc1c14");
}

#[test]
fn a_caution_speaks_only_where_it_concerns() {
    let csi = |release| matrix().row(Driver::Csi, release).unwrap();
    let concerned = |row: &Row, vsphere: (u32, u32)| {
        let runs = VsphereVersion::new(vsphere.0, vsphere.1, 3);
        row.marks.cautions.iter().any(|caution| caution.leaving.is_none() && caution.vsphere.holds(&runs))
    };
    for (release, vsphere, warned) in [
        ((3, 6, 0), (7, 0), false),
        ((3, 6, 1), (7, 0), true),
        ((3, 7, 0), (7, 0), true),
        ((3, 8, 0), (7, 0), true),
        ((3, 8, 0), (8, 0), false),
        ((3, 5, 1), (7, 0), false),
    ] {
        let (major, minor, patch) = release;
        assert_eq!(
            concerned(csi(Release::new(major, minor, patch)), vsphere),
            warned,
            "{release:?} {vsphere:?}"
        );
    }
    let leaves = |row: &Row, from: Release| {
        row.marks.cautions.iter().any(|caution| caution.leaving.is_some_and(|range| range.holds(&from)))
    };
    assert!(leaves(csi(Release::new(3, 7, 1)), Release::new(3, 7, 0)));
    assert!(!leaves(csi(Release::new(3, 7, 2)), Release::new(3, 7, 1)));
    assert!(!leaves(csi(Release::new(3, 7, 0)), Release::new(3, 6, 0)));
    let cpi = matrix().row(Driver::Cpi, Release::new(1, 35, 1)).unwrap();
    let behind = |minor| {
        cpi.marks
            .cautions
            .iter()
            .any(|caution| caution.kubernetes.holds(&KubernetesVersion::new(1, minor, 0)))
    };
    assert_eq!((behind(35), behind(36)), (false, true));
    let told = |release| matrix().row(Driver::Cpi, release).unwrap().marks.cautions.len();
    assert_eq!([Release::new(1, 28, 1), Release::new(1, 29, 0)].map(told), [2, 1], "1.28 does not log out");
}
