//! A document of either form, read into a matrix.

use std::fmt;

use vdo_compat::{Matrix, Row, Source, short_digest};

use crate::error::Error;
use crate::places::Places;
use crate::pointer::{LONGEST_NAME, Pointer, cut};
use crate::tree::{self, Node};
use crate::{document, legacy};

/// A matrix, and what its author should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The rows.
    pub matrix: Matrix,
    /// The form of the document.
    pub form: Form,
    /// JSON pointer of each row, in the order of the rows.
    pub at: Vec<String>,
    /// What is in the document and does nothing, or not what its author may think.
    pub notes: Vec<Note>,
}

/// How a document says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Our own: `schemaVersion` and a list of `rows`.
    Rows,
    /// The original's: releases under `CSI` and `CPI`.
    Original,
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
    /// A field that the form does not have. It is passed over.
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

/// What a reader of one form finds.
pub(crate) struct Contents {
    pub(crate) serial: Option<u64>,
    pub(crate) rows: Vec<Row>,
    pub(crate) at: Vec<String>,
    pub(crate) notes: Vec<Note>,
}

/// Reads a matrix of either form, in JSON or YAML. `source` says where it came from.
pub fn parse(source: Source, text: &str) -> Result<Parsed, Error> {
    // The text is read again for the line of a fault, which an error is worth.
    tree::read(text)
        .and_then(|document| read(source, text, &document))
        .map_err(|error| error.placed(|| Places::of(text)))
}

/// Reads a matrix out of the tree of its text. The place of a fault has no line.
pub(crate) fn read(source: Source, text: &str, document: &Node) -> Result<Parsed, Error> {
    let form = form(document)?;
    let Contents { serial, rows, at, notes } = match form {
        Form::Rows => document::read(document),
        Form::Original => legacy::read(document),
    }?;
    let matrix = Matrix { source, serial, digest: short_digest(text.as_bytes()), rows };
    Ok(Parsed { matrix, form, at, notes })
}

/// Told by what stands at the top.
fn form(document: &Node) -> Result<Form, Error> {
    /// How many names a message repeats.
    const SHOWN: usize = 5;
    let root = Pointer::Root;
    let Node::Map(fields) = document else { return Err(document.wrong_kind(&root, "an object").into()) };
    let has = |names: [&str; 2]| fields.iter().any(|(name, _)| names.contains(&name.as_str()));
    match (has(["schemaVersion", "rows"]), has(["CSI", "CPI"])) {
        (true, _) => Ok(Form::Rows),
        (false, true) => Ok(Form::Original),
        (false, false) if fields.is_empty() => Err(Error::Empty),
        (false, false) => {
            let names = fields.iter().take(SHOWN).map(|(name, _)| cut(name, LONGEST_NAME));
            Err(Error::Foreign { names: names.collect() })
        }
    }
}
