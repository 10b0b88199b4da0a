//! Every release of the built-in matrix against every Kubernetes and vSphere that anybody may ask about, as selection itself
//! answers.

use vdo_compat::{
    Chosen, Cluster, Driver, KubernetesVersion, Pin, Release, Request, Row, Selection, Vcenter,
    VsphereVersion, builtin, select,
};

use crate::images::rows;

/// The API servers of the tables: minors of Kubernetes 1.
const KUBERNETES: std::ops::RangeInclusive<u32> = 26..=38;

/// The vCenters of the tables: what people call them, and what they report.
const VSPHERE: [(&str, &str); 6] = [
    ("6.7", "6.7.0"),
    // Update 3 reports an API version of this number.
    ("6.7 U3", "6.7.3"),
    ("7.0", "7.0.3"),
    ("8.0", "8.0.3"),
    ("9.0", "9.0.0"),
    ("9.1", "9.1.0"),
];

/// Nothing runs there.
const DASH: &str = "–";

/// Which release of a driver is chosen first, for each Kubernetes and vSphere.
pub fn chosen(driver: Driver) -> String {
    let mut text = head("Kubernetes", VSPHERE.iter().map(|(name, _)| format!("vSphere {name}")));
    for minor in KUBERNETES {
        let cells = VSPHERE.iter().map(|(_, vsphere)| {
            let chosen = choice(driver, minor, vsphere, None);
            chosen.map_or(DASH.to_owned(), |it| {
                let release = bracketed(it.release().to_string(), !it.outside.is_empty());
                format!("{release}{}", star(!it.cautions.is_empty()))
            })
        });
        text.push_str(&line(&format!("1.{minor}"), cells));
    }
    text
}

/// For each release and Kubernetes the vSphere that it is made for and runs with, newest release first.
pub fn fits(driver: Driver) -> String {
    let mut text = head(driver.name(), KUBERNETES.map(|minor| format!("1.{minor}")));
    for row in rows(driver) {
        text.push_str(&line(&row.release.to_string(), KUBERNETES.map(|minor| with(row, minor))));
    }
    text
}

/// What is said where a release fits with a caution. Releases of one line may share theirs.
pub fn cautions(driver: Driver) -> String {
    let mut lines: Vec<String> = rows(driver)
        .flat_map(|row| &row.marks.cautions)
        // The tables are about clusters where nothing is installed.
        .filter(|caution| caution.leaving.is_none())
        .map(|caution| format!("- {}.\n", caution.text))
        .collect();
    lines.dedup();
    lines.concat()
}

/// What selection says of one release on one Kubernetes with one vSphere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is refused.
    No,
    /// It runs: whether the release is made for that, and whether that comes with a caution.
    Runs { made_for_it: bool, warned: bool },
}

impl Answer {
    fn of(row: &Row, minor: u32, vsphere: &str) -> Self {
        choice(row.driver, minor, vsphere, Some(row.release)).map_or(Self::No, |chosen| Self::Runs {
            made_for_it: chosen.outside.is_empty(),
            warned: !chosen.cautions.is_empty(),
        })
    }
}

/// The vSphere that a release is made for on this Kubernetes, and the one that it runs with where that is more:
/// `7.0–8.0 · runs 7.0–9.1`. A star for a caution, with the vSphere that it is for unless it is for all.
fn with(row: &Row, minor: u32) -> String {
    let answers = VSPHERE.map(|(name, vsphere)| (name, Answer::of(row, minor, vsphere)));
    let those =
        |is: fn(Answer) -> bool| span(answers.into_iter().filter(|(_, it)| is(*it)).map(|(name, _)| name));
    let runs = those(|it| it != Answer::No);
    let made_for = those(|it| matches!(it, Answer::Runs { made_for_it: true, .. }));
    let warned = those(|it| matches!(it, Answer::Runs { warned: true, .. }));
    let Some(runs) = runs else { return DASH.to_owned() };
    let star = match warned {
        None => String::new(),
        Some(warned) if warned == runs => " *".to_owned(),
        Some(warned) => format!(" * {warned}"),
    };
    match made_for {
        None => format!("runs {runs}{star}"),
        Some(made_for) if made_for == runs => format!("{made_for}{star}"),
        Some(made_for) => format!("{made_for} · runs {runs}{star}"),
    }
}

/// From the first to the last of some vSpheres that follow each other.
fn span<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => None,
        [only] => Some((*only).to_owned()),
        [first, .., last] => Some(format!("{first}–{last}")),
    }
}

fn bracketed(text: String, outside: bool) -> String {
    if outside { format!("({text})") } else { text }
}

fn star(warned: bool) -> &'static str {
    if warned { " *" } else { "" }
}

/// What selection chooses there where nothing is installed, and the VDOConfig names this release or none.
fn choice(driver: Driver, minor: u32, vsphere: &str, release: Option<Release>) -> Option<Box<Chosen>> {
    let request = Request { pin: release.map(Pin::from), ..Request::default() };
    match select(builtin::matrix(), driver, &cluster(minor, vsphere), &request) {
        Selection::Chosen(chosen) => Some(chosen),
        Selection::NoMatch(_) => None,
    }
}

fn cluster(minor: u32, vsphere: &str) -> Cluster {
    let kubernetes: KubernetesVersion = format!("1.{minor}.0").parse().expect("a version made of numbers");
    let version: VsphereVersion = vsphere.parse().expect("a version made of numbers");
    Cluster { kubernetes, vcenters: vec![Vcenter::new("vcenter", version)] }
}

fn head(first: &str, rest: impl Iterator<Item = String>) -> String {
    let rest: Vec<String> = rest.collect();
    format!("{}|---|{}\n", line(first, rest.iter().cloned()), "---|".repeat(rest.len()))
}

fn line(first: &str, rest: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |\n", rest.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages;

    fn cell(table: &str, row: &str, column: usize) -> String {
        let line = table.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap();
        line.split('|').nth(column + 2).unwrap().trim().to_owned()
    }

    #[test]
    fn every_release_has_a_row_and_some_cell() {
        for driver in [Driver::Cpi, Driver::Csi] {
            let table = fits(driver);
            for row in rows(driver) {
                let cells: Vec<String> = (0..KUBERNETES.count())
                    .map(|column| cell(&table, &row.release.to_string(), column))
                    .collect();
                assert!(cells.iter().any(|it| is_made_for_some(it)), "{}: {cells:?}", row.release);
            }
        }
    }

    fn is_made_for_some(cell: &str) -> bool {
        cell != DASH && !cell.starts_with("runs ")
    }

    /// What a person reads in a cell about one vSphere, by the legend of the page alone.
    fn read(cell: &str, vsphere: usize) -> Answer {
        if cell == "–" {
            return Answer::No;
        }
        let place =
            |name: &str| VSPHERE.iter().position(|(it, _)| *it == name).unwrap_or_else(|| panic!("{name}"));
        let holds = |range: &str| {
            let (first, last) = range.split_once('–').unwrap_or((range, range));
            (place(first)..=place(last)).contains(&vsphere)
        };
        let (ranges, star) = match cell.split_once(" *") {
            Some((ranges, star)) => (ranges, Some(star.trim())),
            None => (cell, None),
        };
        let (made_for, runs) = match (ranges.strip_prefix("runs "), ranges.split_once(" · runs ")) {
            (Some(runs), _) => (None, runs),
            (None, Some((made_for, runs))) => (Some(made_for), runs),
            (None, None) => (Some(ranges), ranges),
        };
        if !holds(runs) {
            return Answer::No;
        }
        let warned = star.is_some_and(|it| it.is_empty() || holds(it));
        Answer::Runs { made_for_it: made_for.is_some_and(holds), warned }
    }

    #[test]
    fn every_answer_can_be_read_back_from_the_page_and_is_that_of_selection() {
        let page = pages::files().unwrap().remove(std::path::Path::new("docs/compatibility.md")).unwrap();
        let (_, page) = page.split_once("## What each release runs with").unwrap();
        let mut answers = 0;
        for row in &builtin::matrix().rows {
            let (_, table) = page.split_once(&format!("\n| {} | 1.26 |", row.driver)).unwrap();
            for (column, minor) in KUBERNETES.enumerate() {
                let cell = cell(table, &row.release.to_string(), column);
                for (place, (name, vsphere)) in VSPHERE.into_iter().enumerate() {
                    let answer = Answer::of(row, minor, vsphere);
                    let told = format!("{} {} on 1.{minor} with {name}: {cell:?}", row.driver, row.release);
                    assert_eq!(read(&cell, place), answer, "{told}");
                    answers += 1;
                }
            }
        }
        println!("{answers} answers");
        assert_eq!(answers, 34 * 13 * 6);
    }

    #[test]
    fn a_release_on_which_more_is_known_says_so_in_its_cell() {
        let of = |answers: &str| (0..VSPHERE.len()).map(|it| read(answers, it)).collect::<Vec<_>>();
        let runs = |made_for_it, warned| Answer::Runs { made_for_it, warned };
        let (no, made, only) = (Answer::No, runs(true, false), runs(false, false));
        assert_eq!(of("7.0–8.0 · runs 6.7 U3–9.1"), [no, only, made, made, only, only]);
        assert_eq!(of("runs 8.0 * 8.0"), [no, no, no, runs(false, true), no, no]);
        assert_eq!(of("9.0–9.1 *"), [no, no, no, no, runs(true, true), runs(true, true)]);
        assert_eq!(of("7.0–8.0 * 7.0"), [no, no, runs(true, true), made, no, no]);
    }

    /// Worked out by hand from the ranges of docs/images.md.
    #[test]
    fn some_cells_are_what_a_person_works_out() {
        let (cpi, csi) = (chosen(Driver::Cpi), chosen(Driver::Csi));
        let column = |name: &str| VSPHERE.iter().position(|(it, _)| *it == name).unwrap();
        assert_eq!(cell(&cpi, "1.36", column("8.0")), "1.36.0");
        assert_eq!(cell(&cpi, "1.36", column("6.7")), "–");
        assert_eq!(cell(&cpi, "1.36", column("6.7 U3")), "1.36.0");
        assert_eq!(cell(&cpi, "1.31", column("8.0")), "1.31.1");
        assert_eq!(cell(&cpi, "1.28", column("8.0")), "1.28.1 *");
        assert_eq!(cell(&cpi, "1.27", column("8.0")), "–");
        assert_eq!(cell(&cpi, "1.38", column("9.1")), "1.37.0 *");
        assert_eq!(cell(&csi, "1.36", column("8.0")), "3.8.0");
        assert_eq!(cell(&csi, "1.30", column("8.0")), "3.4.0");
        assert_eq!(cell(&csi, "1.30", column("9.0")), "(3.5.1)");
        assert_eq!(cell(&csi, "1.37", column("9.0")), "(3.8.0)");
        assert_eq!(cell(&csi, "1.26", column("8.0")), "3.1.2");
        assert_eq!(cell(&csi, "1.36", column("6.7")), "–");
        assert_eq!(cell(&csi, "1.36", column("6.7 U3")), "(3.1.2)");
        assert_eq!(cell(&csi, "1.36", column("7.0")), "3.8.0 *");
        let fits_of = |driver, release: &str, minor: usize| cell(&fits(driver), release, minor - 26);
        assert_eq!(fits_of(Driver::Csi, "3.3.1", 28), "7.0–8.0 · runs 7.0–9.1");
        assert_eq!(fits_of(Driver::Csi, "3.3.1", 31), "runs 7.0–9.1");
        assert_eq!(fits_of(Driver::Csi, "3.1.2", 32), "runs 6.7 U3–9.1");
        assert_eq!(fits_of(Driver::Csi, "3.8.0", 32), "runs 7.0–9.1 * 7.0");
        assert_eq!(fits_of(Driver::Csi, "3.8.0", 34), "7.0–9.1 * 7.0");
        assert_eq!(fits_of(Driver::Csi, "3.8.0", 26), "–");
        assert_eq!(fits_of(Driver::Cpi, "1.36.0", 37), "6.7 U3–9.1 *");
    }
}
