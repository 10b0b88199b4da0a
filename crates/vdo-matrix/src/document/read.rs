//! Rows out of the document.

use std::collections::BTreeSet;

use vdo_compat::{
    Bound, Bounds, Caution, Channel, Driver, End, Evidence, Grade, KubernetesVersion, Line, Marks, Range,
    Release, Rendering, Row, Version, VersionError, VsphereVersion, builtin,
};

use super::{MAX_ADDRESS, MAX_CAUTIONS, MAX_IMAGES, MAX_SENTENCE, SCHEMA_VERSION, shape};
use crate::error::{Error, Fault, Refusal};
use crate::parse::{Contents, Note, Remark};
use crate::pointer::{LONGEST_NAME, Pointer, cut};
use crate::span::Span;
use crate::tree::{MAX_ROWS, Node, decode};

/// What a range is founded on whose author names no ground.
pub(crate) const ITSELF: &str = "the matrix itself";

/// The rows of a document of this form, and what in it does nothing.
pub(crate) fn read(document: &Node) -> Result<Contents, Error> {
    let root = Pointer::Root;
    let fields = document.fields(&root)?;
    // A newer form may have anything.
    for (name, value) in fields {
        let at = root.field(name);
        match (name.as_str(), value) {
            ("schemaVersion", Node::Whole(found)) if *found > SCHEMA_VERSION => {
                return Err(Error::TooNew { found: *found });
            }
            ("schemaVersion", Node::Whole(found)) if *found < SCHEMA_VERSION => {
                return Err(at.fault(Fault::NoSuchSchema(*found)).into());
            }
            ("rows", Node::List(rows)) if rows.is_empty() => return Err(at.fault(Fault::Nothing).into()),
            ("rows", Node::List(rows)) if rows.len() > MAX_ROWS => return Err(Error::TooManyRows),
            (_, _) => {}
        }
    }
    let (shape::Document { schema_version: _, serial, rows }, unknown) = decode(document)?;
    let unknown = unknown.into_iter().map(|at| Note { at, remark: Remark::UnknownField });
    let mut contents = Contents { serial, notes: unknown.collect(), rows: Vec::new(), at: Vec::new() };
    let rows_at = root.field("rows");
    let mut seen = BTreeSet::new();
    for (index, row) in rows.into_iter().enumerate() {
        let at = rows_at.item(index);
        let row = read_row(&at, row)?;
        if !seen.insert((row.driver, row.release)) {
            let twice = Fault::Twice(format!("{} {}", row.driver, row.release));
            return Err(at.field("release").fault(twice).into());
        }
        if row.rendering == Rendering::Bundle {
            let at = at.field("release").to_string();
            contents.notes.push(Note { at, remark: Remark::NotRenderable });
        }
        contents.at.push(at.to_string());
        contents.rows.push(row);
    }
    Ok(contents)
}

fn read_row(at: &Pointer<'_>, row: shape::Row) -> Result<Row, Refusal> {
    let driver = match row.driver {
        shape::Driver::Cpi => Driver::Cpi,
        shape::Driver::Csi => Driver::Csi,
    };
    let release = version(&at.field("release"), Release::stated(&row.release))?;
    let needs_cpi = match (driver, row.needs_cpi) {
        (Driver::Csi, needed) => needed.unwrap_or(true),
        (Driver::Cpi, None) => false,
        (Driver::Cpi, Some(_)) => {
            return Err(at.field("needsCPI").fault(Fault::Misplaced { only: Driver::Csi.name() }));
        }
    };
    let text = |name: &str, text: Option<String>, longest| {
        text.map(|text| words(&at.field(name), &text, longest)).transpose()
    };
    let end_of_support = row.end_of_support.map(|text| day(&at.field("endOfSupport"), text)).transpose()?;
    Ok(Row {
        driver,
        release,
        kubernetes: bounds(&at.field("kubernetes"), row.kubernetes)?,
        vsphere: bounds(&at.field("vsphere"), row.vsphere)?,
        esxi: row.esxi.map(|esxi| bounds(&at.field("esxi"), esxi)).transpose()?,
        upgrades_from: range(&at.field("upgradesFrom"), row.upgrades_from)?,
        needs_cpi,
        rendering: if builtin::renders(driver, release) { Rendering::BuiltIn } else { Rendering::Bundle },
        marks: Marks {
            channel: match row.channel {
                shape::Channel::Stable => Channel::Stable,
                shape::Channel::Candidate => Channel::Candidate,
            },
            known_bad: text("knownBad", row.known_bad, MAX_SENTENCE)?,
            end_of_support,
            cautions: list(&at.field("cautions"), MAX_CAUTIONS, row.cautions, caution)?,
        },
        source: text("source", row.source, MAX_ADDRESS)?,
        images: list(&at.field("images"), MAX_IMAGES, row.images, |at, image| {
            words(at, &image, MAX_ADDRESS)
        })?,
        deployment_path: Vec::new(),
    })
}

fn list<I, O>(
    at: &Pointer<'_>,
    longest: usize,
    items: Vec<I>,
    read: impl Fn(&Pointer<'_>, I) -> Result<O, Refusal>,
) -> Result<Vec<O>, Refusal> {
    if items.len() > longest {
        return Err(at.fault(Fault::TooLong));
    }
    items.into_iter().enumerate().map(|(index, item)| read(&at.item(index), item)).collect()
}

fn caution(at: &Pointer<'_>, caution: shape::Caution) -> Result<Caution, Refusal> {
    Ok(Caution {
        kubernetes: range::<KubernetesVersion>(&at.field("kubernetes"), caution.kubernetes)?,
        vsphere: range::<VsphereVersion>(&at.field("vsphere"), caution.vsphere)?,
        leaving: match caution.leaving {
            Some(leaving) => Some(range(&at.field("leaving"), Some(leaving))?),
            None => None,
        },
        text: words(&at.field("text"), &caution.text, MAX_SENTENCE)?,
    })
}

/// A bound that nobody gave: everything is in it.
pub(super) fn unbounded<V: Version>() -> Bound<V> {
    Bound { range: Range::ANY, evidence: stated() }
}

/// The ground of a range whose author names none.
pub(crate) fn stated() -> Evidence {
    Evidence { grade: Grade::Stated, reference: ITSELF.to_owned() }
}

fn bounds<V: Version>(at: &Pointer<'_>, bounds: shape::Bounds) -> Result<Bounds<V>, Refusal> {
    let shape::Bounds { hard, recommended, min, max, evidence } = bounds;
    let has_ends = min.is_some() || max.is_some();
    let hard = match (hard, &recommended) {
        (Some(_), _) | (None, Some(_)) if has_ends || evidence.is_some() => {
            return Err(at.fault(Fault::TwoWays("hard or recommended", "min, max or evidence beside it")));
        }
        (Some(hard), _) => bound(&at.field("hard"), hard)?,
        (None, Some(_)) => unbounded(),
        (None, None) if has_ends => bound(at, shape::Bound { min, max, evidence })?,
        (None, None) => return Err(at.fault(Fault::Missing("hard, recommended, min or max"))),
    };
    let here = at.field("recommended");
    let recommended = recommended.map(|recommended| bound(&here, recommended)).transpose()?;
    if let Some(recommended) = &recommended
        && !Span::of(&hard.range).holds(&Span::of(&recommended.range))
    {
        let (recommended, hard) = (recommended.range.to_string(), hard.range.to_string());
        return Err(here.fault(Fault::Wider { recommended, hard }));
    }
    Ok(Bounds { hard, recommended })
}

fn bound<V: Version>(at: &Pointer<'_>, bound: shape::Bound) -> Result<Bound<V>, Refusal> {
    let shape::Bound { min, max, evidence } = bound;
    let range = range(at, Some(shape::Range { min, max }))?;
    let Some(shape::Evidence { grade, reference }) = evidence else {
        return Ok(Bound { range, evidence: stated() });
    };
    let grade = match grade {
        shape::Grade::Tested => Grade::Tested,
        shape::Grade::Documented => Grade::Documented,
        shape::Grade::Inferred => Grade::Inferred,
        shape::Grade::Stated => Grade::Stated,
    };
    let here = at.field("evidence");
    let reference = words(&here.field("reference"), &reference, MAX_ADDRESS)?;
    Ok(Bound { range, evidence: Evidence { grade, reference } })
}

fn range<V: Version>(at: &Pointer<'_>, range: Option<shape::Range>) -> Result<Range<V>, Refusal> {
    let shape::Range { min, max } = range.unwrap_or_default();
    let end = |name: &str, text: Option<String>| match text {
        None => Ok(End::Open),
        Some(text) => version(&at.field(name), text.parse::<Line<V>>()).map(End::At),
    };
    let range = Range { from: end("min", min)?, to: end("max", max)? };
    if range.is_inverted() { Err(at.fault(Fault::Inverted)) } else { Ok(range) }
}

fn version<T>(at: &Pointer<'_>, read: Result<T, VersionError>) -> Result<T, Refusal> {
    read.map_err(|fault| at.fault(Fault::Version(fault)))
}

/// A text for people, in one line. Blanks around it are no part of it: YAML adds a line break to some texts.
fn words(at: &Pointer<'_>, text: &str, longest: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(at.fault(Fault::Nothing));
    }
    if text.chars().count() > longest {
        return Err(at.fault(Fault::TooLong));
    }
    if text.chars().any(char::is_control) {
        return Err(at.fault(Fault::Control));
    }
    Ok(text.to_owned())
}

fn day(at: &Pointer<'_>, text: String) -> Result<String, Refusal> {
    if is_day(&text) { Ok(text) } else { Err(at.fault(Fault::Day(cut(&text, LONGEST_NAME)))) }
}

/// Is it a day of the calendar, written as in 2026-08-31?
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |part: &str, width: usize| {
        let is_number = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { part.parse::<u32>().ok() } else { None }
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_the_calendar() {
        for day in ["2026-08-31", "2024-02-29", "2000-02-29", "1999-12-01"] {
            assert!(is_day(day), "{day}");
        }
        for none in [
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-1",
            "26-01-01",
            "2026-01-01T00:00:00Z",
            "+026-01-01",
            "2026/01/01",
            "",
            "soon",
        ] {
            assert!(!is_day(none), "{none}");
        }
    }
}
