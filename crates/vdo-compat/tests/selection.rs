//! Selection, case by case: `selection.txt` holds the cases, one a line, and says how to read them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::error::Error;

use vdo_compat::{
    Bound, Bounds, Channel, Chosen, Cluster, Downgrade, Driver, Evidence, Grade, Marks, Matrix, Misfit,
    Movement, NoMatch, Outside, Range, Release, Rendering, Request, Row, Selection, Source, Vcenter, Version,
    VsphereVersion, WayOut, Why, builtin, select,
};

const TABLE: &str = include_str!("selection.txt");
const BUILT_IN: &str = "built-in";

#[test]
fn every_case_gives_its_answer_in_whatever_order_rows_and_vcenters_are_listed() {
    let tables = tables(TABLE);
    let cases = || tables.iter().flat_map(|table| table.cases.iter().map(move |case| (table, case)));
    let by_hand = cases().filter(|(table, _)| table.name == BUILT_IN).count();
    let all = cases().count();
    println!("selection: {all} cases, {by_hand} of them by hand for the built-in matrix");

    let wrong: Vec<String> = cases().filter_map(|(table, case)| failure(table, case)).collect();
    assert!(wrong.is_empty(), "{} of {all} cases fail\n{}", wrong.len(), wrong.join("\n"));
    assert!(all >= 150, "only {all} cases");
    assert!(by_hand >= 60, "only {by_hand} cases by hand");
}

#[test]
fn each_case_stands_once_and_each_of_the_built_in_matrix_says_what_decides_it() {
    for table in tables(TABLE) {
        let mut seen = BTreeSet::new();
        for case in &table.cases {
            let words = case.given.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(seen.insert(words), "selection.txt:{}: {} stands twice", case.line, case.given);
            assert!(
                table.name != BUILT_IN || case.ground.is_some(),
                "selection.txt:{}: {} does not say what decides it",
                case.line,
                case.given
            );
        }
    }
}

/// What is wrong with a case, if anything is.
fn failure(table: &Table<'_>, case: &Case<'_>) -> Option<String> {
    let answer =
        |matrix: &Matrix, cluster: &Cluster| told(&select(matrix, case.driver, cluster, &case.request));
    let mut turned = case.cluster.clone();
    turned.vcenters.reverse();
    let mut shuffled = table.matrix.clone();
    shuffled.rows.reverse();
    let answers = [answer(&table.matrix, &case.cluster), answer(&shuffled, &turned)];
    let wrong = answers.iter().find(|answer| *answer != case.expected)?;
    let ground = case.ground.map(|ground| format!("\n      because  {ground}")).unwrap_or_default();
    Some(format!(
        "  selection.txt:{}: {} (matrix {})\n      expected {}\n      actual   {wrong}{ground}",
        case.line, case.given, table.name, case.expected
    ))
}

/// An answer in the words of the table.
fn told(selection: &Selection) -> String {
    match selection {
        Selection::Chosen(chosen) => choice(chosen),
        Selection::NoMatch(no_match) => refusal(no_match),
    }
}

fn choice(chosen: &Chosen) -> String {
    let mut parts = vec![chosen.release().to_string()];
    let outside: Vec<String> = chosen.outside.iter().map(part).collect();
    if !outside.is_empty() {
        parts.push(format!("outside {}", outside.join(" and ")));
    }
    parts.extend(chosen.newer.map(|newer| format!("newer {newer}")));
    parts.extend(known_bad(chosen.known_bad.as_ref(), chosen.installed));
    match chosen.cautions.len() {
        0 => {}
        1 => parts.push("with a caution".into()),
        more => parts.push(format!("with {more} cautions")),
    }
    parts.join(", ")
}

fn refusal(no_match: &NoMatch) -> String {
    let first = no_match.misfits.first();
    let installed = no_match.stays.as_ref().filter(|stays| first != Some(*stays));
    let mut parts: Vec<String> = first.map(misfit).into_iter().collect();
    parts.extend(installed.map(|stays| format!("installed {}", misfit(stays))));
    if parts.is_empty() {
        parts.push("no row".into());
    }
    parts.extend(known_bad(no_match.known_bad.as_ref(), no_match.installed));
    parts.push(match no_match.way_out {
        WayOut::ReadVcenters => "read the vCenters".into(),
        WayOut::Move(release) => format!("move to {release}"),
        WayOut::Unpin(release) => format!("unpin for {release}"),
        WayOut::PinThis(release) => format!("pin the candidate {release}"),
        WayOut::Repin(release) => format!("pin {release} instead"),
        WayOut::GoBack(release) => format!("go back to {release}"),
        WayOut::AddRow => "add a row".into(),
    });
    format!("none: {}", parts.join("; "))
}

fn known_bad(reason: Option<&String>, installed: Option<Release>) -> Option<String> {
    reason.zip(installed).map(|(_, installed)| format!("{installed} has turned out bad"))
}

fn misfit(misfit: &Misfit) -> String {
    let why = match &misfit.why {
        Why::Outside(outside) => format!("misses {}", part(outside)),
        Why::NoVcenterKnown => "lacks a vCenter".into(),
        Why::KnownBad { .. } => "is known bad".into(),
        Why::NotRenderable => "is a bundle".into(),
        Why::Candidate => "is a candidate".into(),
        Why::OlderThanInstalled { .. } => "is older".into(),
        Why::NotUpgradable { installed, .. } => format!("cannot follow {installed}"),
        Why::NotInMatrix => "has no row".into(),
    };
    format!("{} {why}", misfit.release)
}

fn part(outside: &Outside) -> String {
    match outside {
        Outside::Kubernetes { .. } => "Kubernetes".into(),
        Outside::Vsphere { vcenter, .. } => vcenter.clone(),
        Outside::Esxi { vcenter, .. } => format!("a host of {vcenter}"),
    }
}

/// A matrix and the cases that are asked of it.
struct Table<'t> {
    name: &'t str,
    matrix: Matrix,
    cases: Vec<Case<'t>>,
}

/// One line.
struct Case<'t> {
    line: usize,
    given: &'t str,
    driver: Driver,
    cluster: Cluster,
    request: Request,
    expected: &'t str,
    ground: Option<&'t str>,
}

type Fault = Box<dyn Error>;

/// Reads the file. What cannot be read is a defect of the file, and ends the test with its line.
fn tables(text: &str) -> Vec<Table<'_>> {
    let mut tables = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(fault) = add(&mut tables, at + 1, line) {
            panic!("selection.txt:{}: {fault}: {line}", at + 1);
        }
    }
    tables
}

fn add<'t>(tables: &mut Vec<Table<'t>>, number: usize, line: &'t str) -> Result<(), Fault> {
    if let Some(name) = line.strip_prefix("matrix ") {
        let written =
            || Matrix { source: Source::ConfigMap, serial: None, digest: String::new(), rows: Vec::new() };
        let matrix = if name == BUILT_IN { builtin::matrix().clone() } else { written() };
        tables.push(Table { name, matrix, cases: Vec::new() });
        return Ok(());
    }
    let table = tables.last_mut().ok_or("stands before the first matrix")?;
    match line.strip_prefix("row ") {
        Some(text) => table.matrix.rows.push(row(text)?),
        None => table.cases.push(case(number, line)?),
    }
    Ok(())
}

/// `CSI on v1.34.1 with 8.0.3 and 7.0.3, has 3.9.0, patch => 3.9.9, newer 3.10.0 | the ground`
fn case(line: usize, text: &str) -> Result<Case<'_>, Fault> {
    let (text, ground) = match text.split_once(" | ") {
        Some((text, ground)) => (text, Some(ground.trim())),
        None => (text, None),
    };
    let (given, expected) = halves(text, "=>")?;
    let (driver_name, rest) = halves(given, " on ")?;
    let (kubernetes, rest) = halves(rest, " with ")?;
    let mut clauses = rest.split(", ");
    let vcenters = match clauses.next() {
        Some("no vCenter") => Vec::new(),
        Some(vcenters) => vcenters.split(" and ").enumerate().map(vcenter).collect::<Result<_, _>>()?,
        None => return Err("names no vCenter".into()),
    };
    let mut request = Request::default();
    for clause in clauses {
        match clause.split_once(' ').unwrap_or((clause, "")) {
            ("has", release) => request.installed = Some(release.parse()?),
            ("pin", pin) => request.pin = Some(pin.parse()?),
            ("patch", "") => request.movement = Movement::Patch,
            ("latest", "") => request.movement = Movement::Latest,
            ("candidates", "") => request.channel = Channel::Candidate,
            ("may", "go back") => request.downgrade = Downgrade::Allow,
            _ => return Err(format!("{clause:?} is nothing that can be asked for").into()),
        }
    }
    let cluster = Cluster { kubernetes: kubernetes.parse()?, vcenters };
    Ok(Case { line, given, driver: driver(driver_name)?, cluster, request, expected, ground })
}

/// `6.7.0 (API 6.7.3)` or `8.0.3 over 8.0.2/7.0.3`
fn vcenter((at, text): (usize, &str)) -> Result<Vcenter, Fault> {
    let (text, hosts) = text.split_once(" over ").unwrap_or((text, ""));
    let version = match text.split_once(" (API ") {
        Some((version, api)) => VsphereVersion::reported(version, api.trim_end_matches(')'))?,
        None => text.parse()?,
    };
    let hosts = hosts.split('/').filter(|host| !host.is_empty());
    let hosts = hosts.map(str::parse).collect::<Result<_, _>>()?;
    Ok(Vcenter { hosts, ..Vcenter::new(format!("vc-{}", at + 1), version) })
}

/// `CSI 3.9.0 on 1.33 or newer with 7.0 to 9.0, made for 1.34 to 1.35, candidate`
fn row(text: &str) -> Result<Row, Fault> {
    let (name, rest) = halves(text, " on ")?;
    let (driver_name, release) = halves(name, " ")?;
    let mut clauses = rest.split(", ");
    let (kubernetes, vsphere) = halves(clauses.next().unwrap_or_default(), " with ")?;
    let driver = driver(driver_name)?;
    let mut row = Row {
        driver,
        release: release.parse()?,
        kubernetes: Bounds { hard: bound(kubernetes)?, recommended: None },
        vsphere: Bounds { hard: bound(vsphere)?, recommended: None },
        esxi: None,
        upgrades_from: Range::ANY,
        needs_cpi: driver == Driver::Csi,
        rendering: Rendering::BuiltIn,
        marks: Marks::default(),
        source: None,
        images: Vec::new(),
        deployment_path: Vec::new(),
    };
    for clause in clauses {
        if let Some(text) = clause.strip_prefix("made for ") {
            row.kubernetes.recommended = Some(bound(text)?);
        } else if let Some(text) = clause.strip_prefix("made with ") {
            row.vsphere.recommended = Some(bound(text)?);
        } else if let Some(text) = clause.strip_prefix("over ") {
            row.esxi = Some(Bounds { hard: bound(text)?, recommended: None });
        } else if let Some(text) = clause.strip_prefix("made over ") {
            let hosts = row.esxi.as_mut().ok_or("is made over hosts before it says which it runs over")?;
            hosts.recommended = Some(bound(text)?);
        } else if let Some(text) = clause.strip_prefix("follows ") {
            row.upgrades_from = range(text)?;
        } else {
            match clause {
                "candidate" => row.marks.channel = Channel::Candidate,
                "known bad" => row.marks.known_bad = Some("it loses snapshots".into()),
                "bundle" => row.rendering = Rendering::Bundle,
                _ => return Err(format!("{clause:?} is nothing that a row says").into()),
            }
        }
    }
    Ok(row)
}

fn bound<V: Version>(text: &str) -> Result<Bound<V>, Fault> {
    let evidence = Evidence { grade: Grade::Stated, reference: "selection.txt".into() };
    Ok(Bound { range: range(text)?, evidence })
}

/// `1.33 to 1.35`, `1.34`, `1.33 or newer`, `any`
fn range<V: Version>(text: &str) -> Result<Range<V>, Fault> {
    if text == "any" {
        return Ok(Range::ANY);
    }
    if let Some(from) = text.strip_suffix(" or newer") {
        return Ok(Range::at_least(from.parse()?));
    }
    match text.split_once(" to ") {
        Some((from, to)) => Ok(Range::between(from.parse()?, to.parse()?)),
        None => Ok(Range::only(text.parse()?)),
    }
}

fn driver(name: &str) -> Result<Driver, Fault> {
    let known = [Driver::Cpi, Driver::Csi].into_iter().find(|driver| driver.name() == name);
    known.ok_or_else(|| format!("{name:?} is no driver").into())
}

fn halves<'t>(text: &'t str, between: &str) -> Result<(&'t str, &'t str), Fault> {
    let (left, right) = text.split_once(between).ok_or_else(|| format!("{between:?} is missing"))?;
    Ok((left.trim(), right.trim()))
}
