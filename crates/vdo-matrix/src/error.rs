//! Why a document is no matrix.

use std::fmt;

use vdo_compat::VersionError;

use crate::document::SCHEMA_VERSION;
use crate::places::{Places, Position};
use crate::tree::{MAX_BYTES, MAX_ROWS, Syntax};

/// Why a document is no matrix. Each says what is wrong, where, and what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is longer than [`MAX_BYTES`].
    #[error("the matrix has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The document has more than [`MAX_ROWS`] rows, or more values than any matrix of that size.
    #[error("the matrix has too many rows, or too much in them; at most {MAX_ROWS} rows are read")]
    TooManyRows,
    /// The document is neither JSON nor YAML.
    #[error("the matrix is not {syntax}: {message}{}", in_line(.position.as_ref()))]
    Syntax {
        /// What it was read as.
        syntax: Syntax,
        /// How far it could be read, if the reader knows.
        position: Option<Position>,
        /// What the reader met there.
        message: String,
    },
    /// The document has no row.
    #[error("the matrix is empty: it needs rows, or entries under CSI or CPI as the original had them")]
    Empty,
    /// The document is a matrix of a later version of VDO.
    #[error(
        "the matrix is written in schemaVersion {found}, and this VDO reads {SCHEMA_VERSION}; upgrade VDO, or take a \
         matrix of schemaVersion {SCHEMA_VERSION}"
    )]
    TooNew {
        /// The version that it is written in.
        found: u64,
    },
    /// The document is something else.
    #[error("{}", foreign(.names))]
    Foreign {
        /// The first names in it.
        names: Vec<String>,
    },
    /// A part of the document cannot be meant.
    #[error("{}{} {fault}", named(.at), in_brackets(.position.as_ref()))]
    Invalid {
        /// JSON pointer of the part; empty for the whole document.
        at: String,
        /// Where that is, if it can be told.
        position: Option<Position>,
        /// What is wrong there.
        fault: Fault,
    },
}

impl Error {
    /// The same with the line of its place.
    pub(crate) fn placed(self, places: impl FnOnce() -> Places) -> Self {
        match self {
            Self::Invalid { at, position: None, fault } => {
                let position = places().at(&at);
                Self::Invalid { at, position, fault }
            }
            Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::TooManyRows
            | Self::Syntax { .. }
            | Self::Empty
            | Self::TooNew { .. }
            | Self::Foreign { .. } => self,
        }
    }

    /// The same for a message beside which the line stands anyway.
    pub(crate) fn without_line(&self) -> Self {
        let mut error = self.clone();
        match &mut error {
            Self::Syntax { position, .. } | Self::Invalid { position, .. } => *position = None,
            Self::TooLarge { .. }
            | Self::TooManyRows
            | Self::Empty
            | Self::TooNew { .. }
            | Self::Foreign { .. } => {}
        }
        error
    }

    /// Where in the document it is.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Syntax { position, .. } | Self::Invalid { position, .. } => *position,
            Self::TooLarge { .. }
            | Self::TooManyRows
            | Self::Empty
            | Self::TooNew { .. }
            | Self::Foreign { .. } => None,
        }
    }
}

fn named(at: &str) -> &str {
    if at.is_empty() { "the document" } else { at }
}

fn in_line(position: Option<&Position>) -> String {
    position.map(|it| format!(" in line {}, column {}", it.line, it.column)).unwrap_or_default()
}

fn in_brackets(position: Option<&Position>) -> String {
    position.map(|it| format!(" (line {}, column {})", it.line, it.column)).unwrap_or_default()
}

fn foreign(names: &[String]) -> String {
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let is_object = names.iter().any(|name| name == "apiVersion");
    let hint = if is_object { "; of a ConfigMap, give only the text in versionConfigContent" } else { "" };
    format!(
        "the document is no matrix: one begins with schemaVersion and rows, or with CSI or CPI as the original's did, \
         and this one has {found}{hint}"
    )
}

/// What is wrong at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field that the form requires is absent.
    Missing(&'static str),
    /// A value of another kind than the form has there.
    WrongKind {
        /// The kind that is there.
        found: &'static str,
        /// The kind that belongs there.
        expected: &'static str,
    },
    /// A word where the form has certain other words.
    UnknownWord {
        /// The word that is there.
        found: String,
        /// The words that may be there.
        expected: &'static [&'static str],
    },
    /// A name that stands in the same object before. Some readers would keep one of them silently.
    Duplicate,
    /// A release that has a row already, perhaps under another spelling.
    Twice(String),
    /// A text that is no version.
    Version(VersionError),
    /// A text that is no day.
    Day(String),
    /// A `schemaVersion` that never was.
    NoSuchSchema(u64),
    /// A lower bound above its upper bound.
    Inverted,
    /// A recommended range that reaches beyond the hard one.
    Wider {
        /// The recommended range.
        recommended: String,
        /// The hard one.
        hard: String,
    },
    /// Two ways to say one thing, both used.
    TwoWays(&'static str, &'static str),
    /// A field that does not belong to this driver.
    Misplaced {
        /// The driver that has it.
        only: &'static str,
    },
    /// A list, or a text, that says nothing.
    Nothing,
    /// More, or longer, than any real matrix has.
    TooLong,
    /// A line break, or another character that would spoil a message.
    Control,
    /// Anything else, in the words of the reader.
    Unread(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "has no {field}"),
            Self::WrongKind { found, expected } => write!(f, "is {found} where {expected} belongs"),
            Self::UnknownWord { found, expected } => {
                write!(f, "is {found:?} where one of {} belongs", expected.join(", "))
            }
            Self::Duplicate => f.write_str("stands there a second time"),
            Self::Twice(release) => write!(f, "is {release} a second time"),
            Self::Version(fault) => write!(f, "cannot be read: {fault}"),
            Self::Day(text) => write!(f, "is {text:?} where a day belongs, as in 2026-08-31"),
            Self::NoSuchSchema(found) => write!(f, "is {found}; the oldest is {SCHEMA_VERSION}"),
            Self::Inverted => f.write_str("has a min above its max"),
            Self::Wider { recommended, hard } => {
                write!(f, "is {recommended}, which reaches beyond the hard bound, {hard}")
            }
            Self::TwoWays(one, other) => {
                write!(f, "has {one} and {other}; only one way to say it is allowed")
            }
            Self::Misplaced { only } => write!(f, "is a field of {only} rows only"),
            Self::Nothing => f.write_str("is empty"),
            Self::TooLong => f.write_str("is longer than any matrix needs"),
            Self::Control => f.write_str("has a line break or another control character in it"),
            Self::Unread(words) => write!(f, "cannot be read: {words}"),
        }
    }
}

/// A fault, and the pointer of its place once that is known.
#[derive(Debug)]
pub(crate) struct Refusal {
    at: Option<String>,
    fault: Fault,
}

impl Refusal {
    pub(crate) fn new(at: String, fault: Fault) -> Self {
        Self { at: Some(at), fault }
    }

    /// Of a place that whoever called knows.
    pub(crate) fn somewhere(fault: Fault) -> Self {
        Self { at: None, fault }
    }

    /// Here, unless a part of this place was named already.
    pub(crate) fn or_at(self, at: &impl fmt::Display) -> Self {
        Self { at: self.at.or_else(|| Some(at.to_string())), fault: self.fault }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid { at: refusal.at.unwrap_or_default(), position: None, fault: refusal.fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_is_wrong_where_and_what_belongs_there() {
        let position = Some(Position { line: 7, column: 13 });
        let wrong = Fault::WrongKind { found: "a number", expected: "a text in quotes, as in \"1.30\"" };
        for (error, words) in [
            (
                Error::Invalid { at: "/rows/0/kubernetes/hard/min".into(), position, fault: wrong },
                "/rows/0/kubernetes/hard/min (line 7, column 13) is a number where a text in quotes, as in \"1.30\" \
                 belongs",
            ),
            (
                Error::Invalid { at: String::new(), position: None, fault: Fault::Missing("rows") },
                "the document has no rows",
            ),
            (
                Error::Syntax { syntax: Syntax::Yaml, position, message: "it breaks".into() },
                "the matrix is not YAML: it breaks in line 7, column 13",
            ),
            (
                Error::Syntax { syntax: Syntax::Json, position: None, message: "it breaks".into() },
                "the matrix is not JSON: it breaks",
            ),
            (
                Error::TooNew { found: 2 },
                "the matrix is written in schemaVersion 2, and this VDO reads 1; upgrade VDO, or take a matrix of \
                 schemaVersion 1",
            ),
            (
                Error::Foreign { names: vec!["apiVersion".into(), "kind".into()] },
                "the document is no matrix: one begins with schemaVersion and rows, or with CSI or CPI as the original's \
                 did, and this one has apiVersion, kind; of a ConfigMap, give only the text in versionConfigContent",
            ),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
