//! The original's form, read strictly.
//!
//! Two maps, `CSI` and `CPI`, keyed by release; each entry has `vSphere.{min,max}`, `k8s.{min,max}` or
//! `k8s.skewVersion`, `deploymentPath` and, for CSI, `isCPIRequired`. What cannot be meant is an error that
//! names its place; what is meant but does nothing here is a [`Note`]. A range is a hard bound: the original
//! refused, and never advised.

use std::collections::BTreeSet;

use vdo_compat::{Bound, Bounds, Driver, Line, Marks, Range, Release, Rendering, Row, Version, builtin};

use crate::document::stated;
use crate::error::{Error, Fault, Refusal};
use crate::parse::{Contents, Note, Remark};
use crate::pointer::Pointer;
use crate::tree::{MAX_ROWS, Node};

/// The most manifests of one entry. The longest list that the original shipped has six.
const MAX_PATHS: usize = 32;
/// The longest address of one manifest.
const MAX_PATH_LENGTH: usize = 2_048;
/// An upper bound from this major on says "no bound": the original's authors wrote 100.0.0.
const NO_BOUND_FROM: u32 = 50;

/// The rows of a document of the original's form, and what in it does nothing, in its order.
pub(crate) fn read(document: &Node) -> Result<Contents, Error> {
    let mut reader = Reader(Contents { serial: None, rows: Vec::new(), at: Vec::new(), notes: Vec::new() });
    reader.document(document)?;
    if reader.0.rows.is_empty() { Err(Error::Empty) } else { Ok(reader.0) }
}

struct Reader(Contents);

impl Reader {
    fn note(&mut self, at: &Pointer<'_>, remark: Remark) {
        self.0.notes.push(Note { at: at.to_string(), remark });
    }

    fn document(&mut self, document: &Node) -> Result<(), Error> {
        let root = Pointer::Root;
        for (name, entries) in document.fields(&root)? {
            let at = root.field(name);
            match name.as_str() {
                "CSI" => self.driver(Driver::Csi, &at, entries)?,
                "CPI" => self.driver(Driver::Cpi, &at, entries)?,
                _ => self.note(&at, Remark::UnknownField),
            }
        }
        Ok(())
    }

    fn driver(&mut self, driver: Driver, at: &Pointer<'_>, entries: &Node) -> Result<(), Error> {
        let entries = entries.fields(at)?;
        if self.0.rows.len() + entries.len() > MAX_ROWS {
            return Err(Error::TooManyRows);
        }
        let mut seen = BTreeSet::new();
        for (name, entry) in entries {
            let here = at.field(name);
            let release = Release::stated(name).map_err(|fault| here.fault(Fault::Version(fault)))?;
            if !seen.insert(release) {
                return Err(here.fault(Fault::Twice(format!("{driver} {release}"))).into());
            }
            let row = self.entry(driver, release, &here, entry)?;
            self.0.at.push(here.to_string());
            self.0.rows.push(row);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        driver: Driver,
        release: Release,
        at: &Pointer<'_>,
        entry: &Node,
    ) -> Result<Row, Refusal> {
        let (mut vsphere, mut kubernetes, mut paths, mut cpi_required) = (None, None, None, None);
        for (name, value) in entry.fields(at)? {
            let here = at.field(name);
            match (name.as_str(), driver) {
                ("vSphere", _) => vsphere = Some(self.range(&here, value, Spelling::MinMax)?),
                ("k8s", _) => kubernetes = Some(self.range(&here, value, Spelling::MinMaxOrSkew)?),
                ("deploymentPath", _) => paths = Some((here.to_string(), path_list(&here, value)?)),
                ("isCPIRequired", Driver::Csi) => {
                    let Node::Flag(required) = value else {
                        return Err(value.wrong_kind(&here, "true or false"));
                    };
                    cpi_required = Some(*required);
                }
                (_, Driver::Csi | Driver::Cpi) => self.note(&here, Remark::UnknownField),
            }
        }
        let missing = |field| at.fault(Fault::Missing(field));
        let (paths_at, deployment_path) = paths.ok_or_else(|| missing("deploymentPath"))?;
        let rendering = if builtin::renders(driver, release) {
            self.0.notes.push(Note { at: paths_at, remark: Remark::PathIgnored });
            Rendering::BuiltIn
        } else {
            self.note(at, Remark::NotRenderable);
            Rendering::Bundle
        };
        Ok(Row {
            driver,
            release,
            kubernetes: hard(kubernetes.ok_or_else(|| missing("k8s"))?),
            vsphere: hard(vsphere.ok_or_else(|| missing("vSphere"))?),
            esxi: None,
            upgrades_from: Range::ANY,
            needs_cpi: match driver {
                Driver::Cpi => false,
                // The original never read the field and always put CPI first.
                Driver::Csi => cpi_required.unwrap_or(true),
            },
            rendering,
            marks: Marks::default(),
            source: None,
            images: Vec::new(),
            deployment_path,
        })
    }

    fn range<V: Version>(
        &mut self,
        at: &Pointer<'_>,
        node: &Node,
        spelling: Spelling,
    ) -> Result<Range<V>, Refusal> {
        let (mut min, mut max, mut skew) = (None, None, None);
        for (name, value) in node.fields(at)? {
            let here = at.field(name);
            match (name.as_str(), spelling) {
                ("min", _) => min = Some(line(&here, value)?),
                ("max", _) => max = Some((line(&here, value)?, here.to_string())),
                ("skewVersion", Spelling::MinMaxOrSkew) => skew = Some(line(&here, value)?),
                (_, Spelling::MinMax | Spelling::MinMaxOrSkew) => self.note(&here, Remark::UnknownField),
            }
        }
        let (min, (max, max_at)) = match (skew, min, max) {
            (Some(only), None, None) => return Ok(Range::only(only)),
            (Some(_), _, _) => return Err(at.fault(Fault::TwoWays("skewVersion", "min or max"))),
            (None, None, None) if spelling == Spelling::MinMaxOrSkew => {
                return Err(at.fault(Fault::Missing("min and max, nor skewVersion")));
            }
            (None, min, max) => (
                min.ok_or_else(|| at.fault(Fault::Missing("min")))?,
                max.ok_or_else(|| at.fault(Fault::Missing("max")))?,
            ),
        };
        if max.major() >= NO_BOUND_FROM {
            self.0.notes.push(Note { at: max_at, remark: Remark::NoUpperBound });
            return Ok(Range::at_least(min));
        }
        let range = Range::between(min, max);
        if range.is_inverted() { Err(at.fault(Fault::Inverted)) } else { Ok(range) }
    }
}

fn hard<V: Version>(range: Range<V>) -> Bounds<V> {
    Bounds { hard: Bound { range, evidence: stated() }, recommended: None }
}

/// How an object may spell its range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    MinMax,
    MinMaxOrSkew,
}

fn line<V: Version>(at: &Pointer<'_>, node: &Node) -> Result<Line<V>, Refusal> {
    text(at, node)?.parse().map_err(|fault| at.fault(Fault::Version(fault)))
}

fn path_list(at: &Pointer<'_>, node: &Node) -> Result<Vec<String>, Refusal> {
    let Node::List(paths) = node else { return Err(node.wrong_kind(at, "a list")) };
    if paths.is_empty() {
        return Err(at.fault(Fault::Nothing));
    }
    if paths.len() > MAX_PATHS {
        return Err(at.fault(Fault::TooLong));
    }
    let entry = |(index, path): (usize, &Node)| {
        let here = at.item(index);
        match text(&here, path)? {
            "" => Err(here.fault(Fault::Nothing)),
            path if path.len() > MAX_PATH_LENGTH => Err(here.fault(Fault::TooLong)),
            path => Ok(path.to_owned()),
        }
    };
    paths.iter().enumerate().map(entry).collect()
}

fn text<'n>(at: &Pointer<'_>, node: &'n Node) -> Result<&'n str, Refusal> {
    if let Node::Text(text) = node { Ok(text) } else { Err(node.wrong_kind(at, "a text in quotes")) }
}

#[cfg(test)]
mod tests;
