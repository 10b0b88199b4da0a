//! The original's JSON, read strictly.
//!
//! Two maps, `CSI` and `CPI`, keyed by release; each entry has `vSphere.{min,max}`, `k8s.{min,max}` or
//! `k8s.skewVersion`, `deploymentPath` and, for CSI, `isCPIRequired`. What cannot be meant is an error that names
//! its place; what is meant but does nothing here is a [`Note`].

mod json;

use std::fmt;

use self::json::{Fields, Node};
use crate::builtin;
use crate::matrix::{Backing, Driver, Evidence, Grade, Marks, Matrix, Rendering, Row, Source, short_digest};
use crate::range::{Line, Range};
use crate::version::{Release, Version, VersionError};

/// The largest document that is read at all.
pub const MAX_BYTES: usize = 1 << 20;
/// The most entries of both maps together.
pub const MAX_ENTRIES: usize = 2_000;
/// The most manifests of one entry. The longest list that the original shipped has six.
pub const MAX_PATHS: usize = 32;
/// The longest address of one manifest.
pub const MAX_PATH_LENGTH: usize = 2_048;
/// An upper bound from this major on says "no bound": the original's authors wrote 100.0.0.
const NO_BOUND_FROM: u32 = 50;

/// A matrix, and what its author should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The rows.
    pub matrix: Matrix,
    /// What is in the document and does nothing, in its order.
    pub notes: Vec<Note>,
}

/// Something in the document that is no error and yet does not do what its author may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// JSON pointer of the place.
    pub at: String,
    /// What is the matter.
    pub remark: Remark,
}

/// What a [`Note`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remark {
    /// A field, or a map, that the format does not have. It is passed over.
    UnknownField,
    /// The operators build the objects of this release, so its manifests are not applied.
    PathIgnored,
    /// The operators cannot build this release and do not apply manifests, so it is never chosen.
    NotRenderable,
    /// An upper bound that is meant to be none, and is read so.
    NoUpperBound,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remark = match self.remark {
            Remark::UnknownField => "is not a field of this format and does nothing",
            Remark::PathIgnored => {
                "is not applied: the operators build the objects of this release themselves"
            }
            Remark::NotRenderable => "is a release that these operators cannot build, so it is never chosen",
            Remark::NoUpperBound => "is read as having no upper bound",
        };
        write!(f, "{} {remark}", self.at)
    }
}

/// Why a document is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// The document is longer than [`MAX_BYTES`].
    #[error("the matrix has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The document has more than [`MAX_ENTRIES`] entries, or more values than any matrix of that size.
    #[error("the matrix has too many entries; at most {MAX_ENTRIES} are read")]
    TooManyEntries,
    /// The document is no JSON.
    #[error("the matrix is not JSON: {message}")]
    Syntax {
        /// What the reader met, with line and column.
        message: String,
    },
    /// The document has no entry.
    #[error("the matrix is empty: it needs entries under CSI or CPI")]
    Empty,
    /// The document is JSON, but a part of it cannot be meant.
    #[error("{at} {fault}")]
    Invalid {
        /// JSON pointer of the place; `the document` for the whole of it.
        at: String,
        /// What is wrong there.
        fault: Fault,
    },
}

/// What is wrong at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field that the format requires is absent.
    Missing(&'static str),
    /// A value of another kind than the format has there.
    WrongKind {
        /// The kind that is there.
        found: &'static str,
        /// The kind that belongs there.
        expected: &'static str,
    },
    /// A name, or a release under two spellings, comes twice. JSON readers would keep one of them silently.
    Duplicate(String),
    /// A text that is no version.
    Version(VersionError),
    /// A lower bound above its upper bound.
    Inverted,
    /// `skewVersion` beside `min` or `max`: they are two ways to say the same thing.
    TwoWays,
    /// A list, or a text, that says nothing.
    Nothing,
    /// More, or longer, than any real matrix has.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "has no {field}"),
            Self::WrongKind { found, expected } => write!(f, "is {found} where {expected} belongs"),
            Self::Duplicate(name) => write!(f, "has {name:?} twice"),
            Self::Version(fault) => write!(f, "cannot be read: {fault}"),
            Self::Inverted => f.write_str("has a min above its max"),
            Self::TwoWays => f.write_str("has skewVersion and min or max; only one way to say it is allowed"),
            Self::Nothing => f.write_str("is empty"),
            Self::TooLong => f.write_str("is longer than any matrix needs"),
        }
    }
}

/// Reads a document of the original's format. `source` says where it came from.
pub fn parse(source: Source, text: &str) -> Result<Parsed, LegacyError> {
    if text.len() > MAX_BYTES {
        return Err(LegacyError::TooLarge { bytes: text.len() });
    }
    let document = json::read(text)?;
    let mut reader = Reader { rows: Vec::new(), notes: Vec::new() };
    reader.document(&document)?;
    let Reader { rows, notes } = reader;
    if rows.is_empty() {
        return Err(LegacyError::Empty);
    }
    Ok(Parsed { matrix: Matrix { source, serial: None, digest: short_digest(text.as_bytes()), rows }, notes })
}

struct Reader {
    rows: Vec<Row>,
    notes: Vec<Note>,
}

/// The fields of `node` in the order of the document, or the fault that it has none or has one twice.
fn fields<'n>(at: &Pointer, node: &'n Node) -> Result<&'n Fields, LegacyError> {
    let Node::Map(fields) = node else { return Err(at.wrong_kind(node, "an object")) };
    let mut seen = std::collections::BTreeSet::new();
    match fields.iter().find(|(name, _)| !seen.insert(name)) {
        Some((name, _)) => Err(at.fault(Fault::Duplicate(cut(name)))),
        None => Ok(fields),
    }
}

impl Reader {
    fn note(&mut self, at: &Pointer, remark: Remark) {
        self.notes.push(Note { at: at.to_string(), remark });
    }

    fn document(&mut self, document: &Node) -> Result<(), LegacyError> {
        let root = Pointer(Vec::new());
        for (name, entries) in fields(&root, document)? {
            let at = root.child(name);
            match name.as_str() {
                "CSI" => self.driver(Driver::Csi, &at, entries)?,
                "CPI" => self.driver(Driver::Cpi, &at, entries)?,
                _ => self.note(&at, Remark::UnknownField),
            }
        }
        Ok(())
    }

    fn driver(&mut self, driver: Driver, at: &Pointer, entries: &Node) -> Result<(), LegacyError> {
        let entries = fields(at, entries)?;
        if self.rows.len() + entries.len() > MAX_ENTRIES {
            return Err(LegacyError::TooManyEntries);
        }
        let mut seen = std::collections::BTreeSet::new();
        for (name, entry) in entries {
            let here = at.child(name);
            let release: Release = name.parse().map_err(|fault| here.fault(Fault::Version(fault)))?;
            if !seen.insert(release) {
                return Err(at.fault(Fault::Duplicate(release.to_string())));
            }
            let row = self.entry(driver, release, &here, entry)?;
            self.rows.push(row);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        driver: Driver,
        release: Release,
        at: &Pointer,
        entry: &Node,
    ) -> Result<Row, LegacyError> {
        let (mut vsphere, mut kubernetes, mut paths, mut cpi_required) = (None, None, None, None);
        for (name, value) in fields(at, entry)? {
            let here = at.child(name);
            match (name.as_str(), driver) {
                ("vSphere", _) => vsphere = Some(self.range(&here, value, Spelling::MinMax)?),
                ("k8s", _) => kubernetes = Some(self.range(&here, value, Spelling::MinMaxOrSkew)?),
                ("deploymentPath", _) => paths = Some((here.clone(), path_list(&here, value)?)),
                ("isCPIRequired", Driver::Csi) => {
                    let Node::Flag(required) = value else {
                        return Err(here.wrong_kind(value, "true or false"));
                    };
                    cpi_required = Some(*required);
                }
                (_, Driver::Csi | Driver::Cpi) => self.note(&here, Remark::UnknownField),
            }
        }
        let missing = |field| at.fault(Fault::Missing(field));
        let (paths_at, deployment_path) = paths.ok_or_else(|| missing("deploymentPath"))?;
        let rendering = if builtin::renders(driver, release) {
            self.note(&paths_at, Remark::PathIgnored);
            Rendering::BuiltIn
        } else {
            self.note(at, Remark::NotRenderable);
            Rendering::Bundle
        };
        let stated = || Backing { grade: Grade::Stated, reference: at.to_string() };
        Ok(Row {
            driver,
            release,
            kubernetes: kubernetes.ok_or_else(|| missing("k8s"))?,
            vsphere: vsphere.ok_or_else(|| missing("vSphere"))?,
            needs_cpi: match driver {
                Driver::Cpi => false,
                // The original never read the field and always put CPI first.
                Driver::Csi => cpi_required.unwrap_or(true),
            },
            rendering,
            marks: Marks::default(),
            deployment_path,
            evidence: Evidence { kubernetes: stated(), vsphere: stated() },
        })
    }

    fn range<V: Version>(
        &mut self,
        at: &Pointer,
        node: &Node,
        spelling: Spelling,
    ) -> Result<Range<V>, LegacyError> {
        let (mut min, mut max, mut skew) = (None, None, None);
        for (name, value) in fields(at, node)? {
            let here = at.child(name);
            match (name.as_str(), spelling) {
                ("min", _) => min = Some(line(&here, value)?),
                ("max", _) => max = Some((line(&here, value)?, here)),
                ("skewVersion", Spelling::MinMaxOrSkew) => skew = Some(line(&here, value)?),
                (_, Spelling::MinMax | Spelling::MinMaxOrSkew) => self.note(&here, Remark::UnknownField),
            }
        }
        let (min, (max, max_at)) = match (skew, min, max) {
            (Some(only), None, None) => return Ok(Range::only(only)),
            (Some(_), _, _) => return Err(at.fault(Fault::TwoWays)),
            (None, None, None) if spelling == Spelling::MinMaxOrSkew => {
                return Err(at.fault(Fault::Missing("min and max, nor skewVersion")));
            }
            (None, min, max) => (
                min.ok_or_else(|| at.fault(Fault::Missing("min")))?,
                max.ok_or_else(|| at.fault(Fault::Missing("max")))?,
            ),
        };
        if max.major() >= NO_BOUND_FROM {
            self.note(&max_at, Remark::NoUpperBound);
            return Ok(Range::at_least(min));
        }
        let range = Range::between(min, max);
        if range.is_inverted() { Err(at.fault(Fault::Inverted)) } else { Ok(range) }
    }
}

/// How an object may spell its range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    MinMax,
    MinMaxOrSkew,
}

fn line<V: Version>(at: &Pointer, node: &Node) -> Result<Line<V>, LegacyError> {
    text(at, node)?.parse().map_err(|fault| at.fault(Fault::Version(fault)))
}

fn path_list(at: &Pointer, node: &Node) -> Result<Vec<String>, LegacyError> {
    let Node::List(paths) = node else { return Err(at.wrong_kind(node, "a list")) };
    if paths.is_empty() {
        return Err(at.fault(Fault::Nothing));
    }
    if paths.len() > MAX_PATHS {
        return Err(at.fault(Fault::TooLong));
    }
    let entry = |(index, path): (usize, &Node)| {
        let here = at.child(&index.to_string());
        match text(&here, path)? {
            "" => Err(here.fault(Fault::Nothing)),
            path if path.len() > MAX_PATH_LENGTH => Err(here.fault(Fault::TooLong)),
            path => Ok(path.to_owned()),
        }
    };
    paths.iter().enumerate().map(entry).collect()
}

fn text<'n>(at: &Pointer, node: &'n Node) -> Result<&'n str, LegacyError> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Flag(_) | Node::Number | Node::Null | Node::List(_) | Node::Map(_) => {
            Err(at.wrong_kind(node, "a text in quotes"))
        }
    }
}

/// Where in the document we are (RFC 6901).
#[derive(Clone)]
struct Pointer(Vec<String>);

impl Pointer {
    fn child(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        path.push(cut(name).replace('~', "~0").replace('/', "~1"));
        Self(path)
    }

    fn fault(&self, fault: Fault) -> LegacyError {
        let at = if self.0.is_empty() { "the document".to_owned() } else { self.to_string() };
        LegacyError::Invalid { at, fault }
    }

    fn wrong_kind(&self, found: &Node, expected: &'static str) -> LegacyError {
        self.fault(Fault::WrongKind { found: found.kind(), expected })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// Names go into messages, and a name may be a megabyte long or hold control characters.
fn cut(name: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String =
        name.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
