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

/// Which release of a driver is chosen first, for each Kubernetes and vSphere.
pub fn chosen(driver: Driver) -> String {
    let mut text = head("Kubernetes", VSPHERE.iter().map(|(name, _)| format!("vSphere {name}")));
    for minor in KUBERNETES {
        let cells = VSPHERE.iter().map(|(_, vsphere)| {
            let chosen = choice(driver, minor, vsphere, None);
            chosen.map_or("–".to_owned(), |it| {
                let release = bracketed(it.release().to_string(), !it.outside.is_empty());
                format!("{release}{}", star(!it.cautions.is_empty()))
            })
        });
        text.push_str(&line(&format!("1.{minor}"), cells));
    }
    text
}

/// For each release and Kubernetes the vSphere that it runs with, newest release first.
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

/// The vSphere that a release is made for on this Kubernetes: `7.0 to 9.0`, with a star where that comes with a caution; or
/// whether it runs there at all.
fn with(row: &Row, minor: u32) -> String {
    let runs: Vec<_> = VSPHERE
        .iter()
        .filter_map(|(name, vsphere)| Some((*name, choice(row.driver, minor, vsphere, Some(row.release))?)))
        .collect();
    let made_for: Vec<_> = runs.iter().filter(|(_, chosen)| chosen.outside.is_empty()).collect();
    let (Some((first, _)), Some((last, _))) = (made_for.first(), made_for.last()) else {
        return if runs.is_empty() { "–" } else { "runs" }.to_owned();
    };
    let star = star(made_for.iter().any(|(_, chosen)| !chosen.cautions.is_empty()));
    if first == last { format!("{first}{star}") } else { format!("{first} to {last}{star}") }
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
    use vdo_compat::{Channel, misfit};

    use super::*;

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
                assert!(
                    cells.iter().any(|it| !matches!(it.as_str(), "–" | "runs")),
                    "{}: {cells:?}",
                    row.release
                );
            }
        }
    }

    #[test]
    fn a_vsphere_between_two_that_fit_fits() {
        // A cell says "from to", and nothing of what lies between.
        for row in &builtin::matrix().rows {
            for minor in KUBERNETES {
                let fits =
                    VSPHERE.iter().map(|(_, it)| misfit(row, &cluster(minor, it), Channel::Stable).is_none());
                let fits: Vec<bool> = fits.collect();
                let turns = fits.windows(2).filter(|pair| pair[0] != pair[1]).count();
                assert!(turns <= 2 && !(turns == 2 && fits[0]), "{} 1.{minor}: {fits:?}", row.release);
            }
        }
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
        assert_eq!(cell(&fits(Driver::Csi), "3.3.1", 28 - 26), "7.0 to 8.0");
        assert_eq!(cell(&fits(Driver::Csi), "3.3.1", 31 - 26), "runs");
    }
}
