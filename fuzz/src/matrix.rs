//! A matrix that is read, written and read again; and what lint and selection do with it.

use std::collections::{BTreeMap, BTreeSet};

use vdo_compat::{
    Cluster, Driver, KubernetesVersion, Matrix, Request, Selection, Source, Vcenter, VsphereVersion, select,
};
use vdo_matrix::{MAX_BYTES, MAX_ROWS, Parsed, lint, parse, to_json, write};

use crate::told;

/// A document of our own form or of the original's, in YAML or JSON; or anything else.
pub fn matrix(text: &str) {
    let read = parse(Source::ConfigMap, text);
    let linted = lint(text, &BTreeMap::new(), Some("2026-08-31"));
    assert_eq!(linted.matrix.as_ref(), read.as_ref().ok().map(|parsed| &parsed.matrix));
    for finding in &linted.findings {
        assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{finding:?}");
    }
    match read {
        Err(error) => {
            told(&error.to_string());
            assert!(!linted.findings.is_empty(), "nothing is said of what cannot be read");
        }
        Ok(parsed) => {
            sound(&parsed);
            reads_back(&parsed.matrix);
            chosen(&parsed.matrix, Driver::Cpi);
            chosen(&parsed.matrix, Driver::Csi);
        }
    }
}

/// Each row stands once and knows its place.
fn sound(Parsed { matrix, at, .. }: &Parsed) {
    assert!((1..=MAX_ROWS).contains(&matrix.rows.len()));
    assert_eq!(matrix.rows.len(), at.len());
    let releases: BTreeSet<_> = matrix.rows.iter().map(|row| (row.driver, row.release)).collect();
    assert_eq!(releases.len(), matrix.rows.len(), "a release stands twice");
    for row in &matrix.rows {
        let ranges = [row.kubernetes.hard.range.is_inverted(), row.vsphere.hard.range.is_inverted()];
        assert_eq!(ranges, [false; 2], "an inverted range of {}", row.release);
    }
}

/// What is written is read as the same, but for where it came from and the manifests that only the original's form names.
fn reads_back(matrix: &Matrix) {
    let mut expected = matrix.clone();
    expected.rows.iter_mut().for_each(|row| row.deployment_path.clear());
    let yaml = write(matrix);
    let json = to_json(matrix);
    for text in [&yaml, &json.to_string()] {
        let again = match parse(Source::ConfigMap, text) {
            Ok(again) => again,
            Err(error) => {
                assert!(text.len() > MAX_BYTES, "{error} in\n{text}");
                continue;
            }
        };
        assert_eq!((again.matrix.serial, &again.matrix.rows), (expected.serial, &expected.rows), "{text}");
        assert_eq!((write(&again.matrix), to_json(&again.matrix)), (yaml.clone(), json.clone()));
    }
}

/// What is chosen is a row, and every row that is not has a reason.
fn chosen(matrix: &Matrix, driver: Driver) {
    let vcenters = vec![Vcenter::new("vc-1", VsphereVersion::new(8, 0, 3))];
    let cluster = Cluster { kubernetes: KubernetesVersion::new(1, 34, 2), vcenters };
    match select(matrix, driver, &cluster, &Request::default()) {
        Selection::Chosen(chosen) => assert_eq!(matrix.row(driver, chosen.release()), Some(&chosen.row)),
        Selection::NoMatch(no_match) => assert_eq!(no_match.misfits.len(), matrix.rows_of(driver).count()),
    }
}
