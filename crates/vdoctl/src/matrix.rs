//! A compatibility matrix without a cluster: its rows, which release fits, and what stands in the way of the others. Pure, but
//! for [`observe`] and [`source`], which read.

pub mod images;
pub mod lint;
pub mod observe;
pub mod source;
pub mod upgrade;

use serde::Serialize;
use vdo_compat::{
    Bounds, Channel, Cluster, Driver, Grade, KubernetesVersion, Matrix, Release, Request, Row, Selection,
    Vcenter, Version, VsphereVersion, explain, misfit, select,
};
use vdo_matrix::Note;
use vdo_matrix::places::Places;

use crate::look::{Look, Mark};
use crate::page::Page;
use crate::table::{Cell, NOTHING, head, table};

/// What is asked of a matrix.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The API server.
    pub kubernetes: KubernetesVersion,
    /// Every vCenter.
    pub vsphere: Vec<VsphereVersion>,
    /// What the ESXi hosts of each of them run, as far as that is known.
    pub esxi: Vec<VsphereVersion>,
    /// For which drivers.
    pub drivers: Vec<Driver>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Where the rows came from.
    pub matrix: String,
    /// The API server that was asked about.
    pub kubernetes: KubernetesVersion,
    /// The vCenters that were asked about.
    pub vsphere: Vec<VsphereVersion>,
    /// What their ESXi hosts run, if that was said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub esxi: Vec<VsphereVersion>,
    /// Whether a release fits for each driver.
    pub fits: bool,
    /// One for each driver that was asked about.
    pub drivers: Vec<DriverAnswer>,
}

/// The answer for one driver.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriverAnswer {
    /// Which one.
    pub driver: Driver,
    /// What would be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Release>,
    /// The choice in the words of the condition `CompatibilityResolved`.
    pub message: String,
    /// Every release of the matrix, newest first.
    pub releases: Vec<ReleaseAnswer>,
}

/// The answer for one release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseAnswer {
    /// Which one.
    pub release: Release,
    /// Whether it fits.
    pub fits: bool,
    /// What stands in its way first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its row says about a cluster like this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
}

/// Which release of each driver fits, as the operators choose where nothing is installed.
pub fn explanation(name: &str, matrix: &Matrix, asked: &Asked) -> Explanation {
    let named = |(at, version): (usize, &VsphereVersion)| Vcenter {
        hosts: asked.esxi.clone(),
        ..Vcenter::new((at + 1).to_string(), *version)
    };
    let cluster = Cluster {
        kubernetes: asked.kubernetes,
        vcenters: asked.vsphere.iter().enumerate().map(named).collect(),
    };
    let drivers: Vec<DriverAnswer> =
        asked.drivers.iter().map(|driver| answer(matrix, *driver, &cluster)).collect();
    Explanation {
        matrix: name.to_owned(),
        kubernetes: asked.kubernetes,
        vsphere: asked.vsphere.clone(),
        esxi: asked.esxi.clone(),
        fits: drivers.iter().all(|it| it.chosen.is_some()),
        drivers,
    }
}

fn answer(matrix: &Matrix, driver: Driver, cluster: &Cluster) -> DriverAnswer {
    let selection = select(matrix, driver, cluster, &Request::default());
    let chosen = match &selection {
        Selection::Chosen(chosen) => Some(chosen.release()),
        Selection::NoMatch(_) => None,
    };
    let releases = newest_first(matrix, driver).into_iter().map(|row| {
        let misfit = misfit(row, cluster, Channel::default());
        ReleaseAnswer {
            release: row.release,
            fits: misfit.is_none(),
            cautions: if misfit.is_none() { cautions(matrix, row, cluster) } else { Vec::new() },
            why: misfit.as_ref().map(explain::misfit),
        }
    });
    DriverAnswer { driver, chosen, message: explain::selection(&selection), releases: releases.collect() }
}

/// What would be said if this release were asked for.
fn cautions(matrix: &Matrix, row: &Row, cluster: &Cluster) -> Vec<String> {
    let request = Request { pin: Some(row.release.into()), ..Request::default() };
    match select(matrix, row.driver, cluster, &request) {
        Selection::Chosen(chosen) => explain::cautions(&chosen),
        Selection::NoMatch(_) => Vec::new(),
    }
}

/// What is in a document and does nothing, each with its place.
pub fn notes(name: &str, text: &str, notes: &[Note]) -> Vec<String> {
    let places = if notes.is_empty() { Places::default() } else { Places::of(text) };
    let said = notes.iter().map(|note| match places.at(&note.at) {
        Some(position) => format!("{name}:{position}: {note}"),
        None => format!("{name}: {note}"),
    });
    said.collect()
}

fn newest_first(matrix: &Matrix, driver: Driver) -> Vec<&Row> {
    let mut rows: Vec<&Row> = matrix.rows_of(driver).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.release));
    rows
}

/// Draws the answer: the choice of each driver, then every release with what stands in its way.
pub fn draw(answer: &Explanation, look: Look) -> String {
    let mut parts = Vec::new();
    for driver in &answer.drivers {
        let mut page = Page::new(look);
        let mark = if driver.chosen.is_some() { Mark::Good } else { Mark::Bad };
        page.item(mark, &format!("{}: ", driver.driver), &driver.message);
        page.gap();
        let rows: Vec<Vec<Cell>> = driver.releases.iter().map(|row| line(row, driver.chosen)).collect();
        let rows = [vec![head(&["RELEASE", "FITS", "WHY"])], rows].concat();
        parts.push(format!("{}{}", page.text(), table(&rows, look)));
    }
    parts.join("\n")
}

fn line(row: &ReleaseAnswer, chosen: Option<Release>) -> Vec<Cell> {
    let (mark, fits) = match (row.fits, chosen == Some(row.release)) {
        (_, true) => (Mark::Good, "chosen"),
        (true, false) => (Mark::None, "yes"),
        (false, false) => (Mark::Bad, "no"),
    };
    let why = row.why.clone().unwrap_or_else(|| row.cautions.join("; "));
    let why = if why.is_empty() { NOTHING.to_owned() } else { why };
    vec![(Mark::None, row.release.to_string()), (mark, fits.to_owned()), (Mark::None, why)]
}

/// Draws the rows of a matrix, the newest release of each driver first.
pub fn rows(matrix: &Matrix, look: Look) -> String {
    let mut all = vec![head(&["DRIVER", "RELEASE", "KUBERNETES", "VSPHERE", "GROUND", "MARKS"])];
    for driver in [Driver::Cpi, Driver::Csi] {
        all.extend(newest_first(matrix, driver).into_iter().map(|row| {
            let cells = [
                driver.to_string(),
                row.release.to_string(),
                window(&row.kubernetes),
                window(&row.vsphere),
                ground(row),
                marks(row),
            ];
            cells.into_iter().map(|text| (Mark::None, text)).collect()
        }));
    }
    table(&all, look)
}

/// What a release is made for, and where it is refused if that is more.
fn window<V: Version>(bounds: &Bounds<V>) -> String {
    match &bounds.recommended {
        Some(window) => format!("{}; runs on {}", window.range, bounds.hard.range),
        None => bounds.hard.range.to_string(),
    }
}

/// How well the weakest of the ranges is founded.
fn ground(row: &Row) -> String {
    let grade = row.kubernetes.weakest().min(row.vsphere.weakest());
    let word = match grade {
        Grade::Stated => "stated",
        Grade::Inferred => "inferred",
        Grade::Documented => "documented",
        Grade::Tested => "tested",
    };
    word.to_owned()
}

fn marks(row: &Row) -> String {
    let mut marks = Vec::new();
    if row.marks.channel == Channel::Candidate {
        marks.push("candidate".to_owned());
    }
    if let Some(reason) = &row.marks.known_bad {
        marks.push(format!("known to be bad: {reason}"));
    }
    if let Some(day) = &row.marks.end_of_support {
        marks.push(format!("supported until {day}"));
    }
    if marks.is_empty() { NOTHING.to_owned() } else { marks.join("; ") }
}

#[cfg(test)]
mod tests {
    use vdo_compat::builtin;

    use super::*;

    fn ask(kubernetes: &str, vsphere: &[&str]) -> Explanation {
        let asked = Asked {
            kubernetes: kubernetes.parse().unwrap(),
            vsphere: vsphere.iter().map(|text| text.parse().unwrap()).collect(),
            esxi: Vec::new(),
            drivers: vec![Driver::Cpi, Driver::Csi],
        };
        explanation("built in", builtin::matrix(), &asked)
    }

    #[test]
    fn a_host_of_any_vcenter_counts_where_a_row_has_a_bound_for_it() {
        let text = r#"{"schemaVersion": 1, "rows": [{"driver": "CSI", "release": "3.8.0", "kubernetes": {"min": "1.30"},
            "vsphere": {"min": "7.0"}, "esxi": {"min": "8.0"}}]}"#;
        let matrix = vdo_matrix::parse(vdo_compat::Source::ConfigMap, text).unwrap().matrix;
        let why = |esxi: &[&str]| {
            let asked = Asked {
                kubernetes: "1.34.1".parse().unwrap(),
                vsphere: vec!["8.0.3".parse().unwrap()],
                esxi: esxi.iter().map(|text| text.parse().unwrap()).collect(),
                drivers: vec![Driver::Csi],
            };
            explanation("mine", &matrix, &asked).drivers[0].releases[0].why.clone()
        };
        assert_eq!((why(&[]), why(&["8.0.2"])), (None, None));
        assert_eq!(
            why(&["8.0.2", "7.0.3"]).as_deref(),
            Some("CSI 3.8.0 needs ESXi 8.0 or newer, a host of vCenter 1 runs 7.0.3")
        );
    }

    #[test]
    fn each_release_is_listed_with_what_stands_in_its_way() {
        let answer = ask("1.34.1", &["8.0.3", "7.0.3"]);
        assert!(answer.fits);
        let csi = &answer.drivers[1];
        assert_eq!(csi.chosen.unwrap().to_string(), "3.8.0");
        assert_eq!(csi.releases.len(), builtin::matrix().rows_of(Driver::Csi).count());
        let of = |release: &str| csi.releases.iter().find(|row| row.release.to_string() == release).unwrap();
        assert!(of("3.8.0").fits && of("3.8.0").cautions[0].contains("FIPS"), "{:?}", of("3.8.0"));
        assert_eq!(
            of("3.5.1").cautions,
            ["CSI 3.5.1 is made for Kubernetes 1.31 to 1.33, the cluster runs 1.34.1"]
        );
        let cpi = answer.drivers[0].releases.iter().find(|row| row.release.to_string() == "1.36.0").unwrap();
        assert_eq!(
            cpi.why.as_deref(),
            Some("CPI 1.36.0 needs Kubernetes 1.36 or newer, the cluster runs 1.34.1")
        );
        let text = draw(&answer, Look::plain(80));
        assert!(text.contains("\n3.8.0    chosen  "), "{text}");
        assert!(text.contains("\n1.34.0   chosen  -\n"), "{text}");
    }

    #[test]
    fn where_nothing_fits_the_answer_is_no_in_the_words_of_the_condition() {
        let answer = ask("1.30.1", &["6.7.0"]);
        assert!(!answer.fits);
        assert!(
            answer.drivers[1].message.starts_with("no CSI release fits: nearest row CSI 3."),
            "{answer:?}"
        );
        assert!(!draw(&answer, Look::plain(80)).contains("chosen"));
    }

    #[test]
    fn the_rows_are_shown_with_their_ground() {
        let text = rows(builtin::matrix(), Look::plain(80));
        assert_eq!(text.lines().count(), builtin::matrix().rows.len() + 1);
        assert!(text.contains("CPI     1.37.0   1.37 to 1.38; runs on 1.37 or newer"), "{text}");
        assert!(text.contains("\nCSI     3.3.1    1.28 to 1.30; runs on 1.27 or newer"), "{text}");
    }
}
