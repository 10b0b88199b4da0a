//! Looks through a matrix of either form. Pure.
//!
//! `rows` looks at what the rows say, `images` at the images that they name, `manifests` at what the
//! manifests would do that a row of the original's form names.

mod images;
mod manifests;
mod rows;

use std::collections::BTreeMap;

use serde::Serialize;
use vdo_compat::{Matrix, Row, Source};

use crate::error::{Error, Fault};
use crate::parse::{Form, Parsed, Remark, read};
use crate::places::{Places, Position};
use crate::pointer::Pointer;
use crate::rule::{Level, Rule};
use crate::tree::{self, Node};

/// Something that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The manifest that it is in; none for the matrix itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The line and the column, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// JSON pointer of the place in the matrix.
    pub at: String,
    /// How bad it is.
    pub level: Level,
    /// What was looked for.
    pub rule: Rule,
    /// What is the matter, with the row it is about.
    pub message: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linted {
    /// The matrix, if it is one.
    pub matrix: Option<Matrix>,
    /// In the order of the document; what is in a manifest comes after.
    pub findings: Vec<Finding>,
}

impl Linted {
    /// How many findings are so bad.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// A manifest that was found for a path of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is called.
    pub file: String,
    /// What is in it.
    pub text: String,
}

/// The manifests by the path under which the matrix names them.
pub type Manifests = BTreeMap<String, Manifest>;

/// Looks through a document and the manifests that it names. `today` is a day like `2026-08-31`; without one
/// nothing is said about the days that rows name as the end of support.
pub fn lint(text: &str, manifests: &Manifests, today: Option<&str>) -> Linted {
    let document = tree::read(text);
    let mut notes = Notes::default();
    if let Ok(document) = &document {
        notes.places = Places::of(text);
        placeholders(document, &Pointer::Root, &mut notes);
    }
    let matrix = match document.and_then(|document| read(Source::ConfigMap, text, &document)) {
        Ok(parsed) => {
            for note in &parsed.notes {
                notes.add(of_remark(note.remark), &note.at, note.to_string());
            }
            rows::look(&parsed, today, &mut notes);
            images::look(&parsed, &mut notes);
            manifests::look(&parsed, manifests, &mut notes);
            Some(parsed.matrix)
        }
        Err(error) => {
            notes.refuse(&error);
            None
        }
    };
    notes.findings.sort();
    notes.findings.dedup();
    Linted { matrix, findings: notes.findings }
}

fn of_remark(remark: Remark) -> Rule {
    match remark {
        Remark::UnknownField => Rule::UnknownField,
        Remark::PathIgnored => Rule::PathIgnored,
        Remark::NotRenderable => Rule::NotRenderable,
        Remark::NoUpperBound => Rule::NoUpperBound,
    }
}

/// The rule that a document breaks which is no matrix.
fn of_error(error: &Error) -> Rule {
    match error {
        Error::Invalid { fault, .. } => match fault {
            Fault::Version(_) => Rule::UnparsableVersion,
            Fault::Inverted => Rule::InvertedRange,
            Fault::Wider { .. } => Rule::WiderThanHard,
            Fault::Missing(_)
            | Fault::WrongKind { .. }
            | Fault::UnknownWord { .. }
            | Fault::Duplicate
            | Fault::Twice(_)
            | Fault::Day(_)
            | Fault::NoSuchSchema(_)
            | Fault::TwoWays(_, _)
            | Fault::Misplaced { .. }
            | Fault::Nothing
            | Fault::TooLong
            | Fault::Control
            | Fault::Unread(_) => Rule::Unreadable,
        },
        Error::TooNew { .. } => Rule::TooNew,
        Error::TooLarge { .. }
        | Error::TooManyRows
        | Error::Syntax { .. }
        | Error::Empty
        | Error::Foreign { .. } => Rule::Unreadable,
    }
}

/// The rows with their places.
fn rows_of(parsed: &Parsed) -> impl Iterator<Item = (&Row, &str)> {
    parsed.matrix.rows.iter().zip(parsed.at.iter().map(String::as_str))
}

/// What the forms call the parts of a row.
impl Form {
    fn kubernetes(self) -> &'static str {
        match self {
            Self::Rows => "kubernetes",
            Self::Original => "k8s",
        }
    }

    fn vsphere(self) -> &'static str {
        match self {
            Self::Rows => "vsphere",
            Self::Original => "vSphere",
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Notes {
    places: Places,
    findings: Vec<Finding>,
    /// How often a text of a manifest was meant already.
    meant: BTreeMap<(Rule, String, String, String), usize>,
}

impl Notes {
    /// Something in the matrix.
    fn add(&mut self, rule: Rule, at: &str, message: String) {
        let position = self.places.at(at);
        self.push(rule, at, None, position, message);
    }

    /// Something in a manifest of it. Each time that the same text is meant, its next place is.
    fn add_in(&mut self, rule: Rule, at: &str, manifest: &Manifest, needle: &str, message: String) {
        let key = (rule, at.to_owned(), manifest.file.clone(), needle.to_owned());
        let meant = self.meant.entry(key).or_default();
        let position = find(&manifest.text, needle, *meant).or_else(|| find(&manifest.text, needle, 0));
        *meant += 1;
        self.push(rule, at, Some(manifest.file.clone()), position, message);
    }

    fn push(
        &mut self,
        rule: Rule,
        at: &str,
        manifest: Option<String>,
        position: Option<Position>,
        message: String,
    ) {
        let (at, level) = (at.to_owned(), rule.level());
        self.findings.push(Finding { manifest, position, at, level, rule, message });
    }

    /// The one fault for which a document is no matrix. Its line is shown beside it.
    fn refuse(&mut self, error: &Error) {
        let (rule, message) = (of_error(error), error.without_line().to_string());
        let at = match error {
            Error::Invalid { at, .. } => at.as_str(),
            Error::TooLarge { .. }
            | Error::TooManyRows
            | Error::Syntax { .. }
            | Error::Empty
            | Error::TooNew { .. }
            | Error::Foreign { .. } => "",
        };
        let start = Position { line: 1, column: 1 };
        let position = error.position().or_else(|| self.places.at(at)).unwrap_or(start);
        self.push(rule, at, None, Some(position), message);
    }
}

/// Values that somebody forgot to fill in.
fn placeholders(value: &Node, at: &Pointer<'_>, notes: &mut Notes) {
    match value {
        Node::Text(text) => {
            if let Some(hole) = placeholder(text) {
                let at = at.to_string();
                let message = format!("{at} still holds {hole}: fill it in");
                notes.add(Rule::Placeholder, &at, message);
            }
        }
        Node::List(items) => {
            for (index, item) in items.iter().enumerate() {
                placeholders(item, &at.item(index), notes);
            }
        }
        Node::Map(fields) => {
            for (name, value) in fields {
                placeholders(value, &at.field(name), notes);
            }
        }
        Node::Null | Node::Flag(_) | Node::Whole(_) | Node::Number => {}
    }
}

/// `${VERSION}`, `{{ .Values.tag }}` or `<your registry>` in a text.
fn placeholder(text: &str) -> Option<&str> {
    /// The longest that is looked for, and that a message repeats.
    const LONGEST: usize = 64;
    [("${", "}"), ("{{", "}}"), ("<", ">")].into_iter().find_map(|(open, close)| {
        text.match_indices(open).find_map(|(from, _)| {
            let inside = &text[from + open.len()..];
            // Another opening begins a hole of its own, so that no part of a text is looked at twice.
            let near = inside.char_indices().take(LONGEST);
            let mut near = near.take_while(|(at, c)| !c.is_control() && !inside[*at..].starts_with(open));
            let (to, _) = near.find(|(at, _)| inside[*at..].starts_with(close)).filter(|(at, _)| *at > 0)?;
            Some(&text[from..from + open.len() + to + close.len()])
        })
    })
}

/// Where a part of a text stands for the first time after so many others.
fn find(text: &str, needle: &str, after: usize) -> Option<Position> {
    let (at, _) = text.match_indices(needle).nth(after)?;
    let before = &text[..at];
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let line = count(before.matches('\n').count()) + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Some(Position { line, column: count(before[start..].chars().count()) + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_shown_and_what_only_looks_like_one_is_none() {
        assert_eq!(placeholder("a ${CA_BUNDLE} b"), Some("${CA_BUNDLE}"));
        assert_eq!(placeholder("{{ .Values.tag }}"), Some("{{ .Values.tag }}"));
        assert_eq!(placeholder("https://<your registry>/x"), Some("<your registry>"));
        assert_eq!(placeholder("${} ${TAG}"), Some("${TAG}"));
        assert_eq!((placeholder("${a ${TAG}"), placeholder("<<tag>>")), (Some("${TAG}"), Some("<tag>")));
        let long = format!("<{}>", "x".repeat(64));
        for none in ["", "a > b < c", "${", "{{}}", "$VERSION", "a < b\nand c > d", &long] {
            assert_eq!(placeholder(none), None, "{none}");
        }
    }

    #[test]
    fn a_needle_stands_at_its_line_and_column() {
        assert_eq!(find("a\nbc: d\n", "d", 0), Some(Position { line: 2, column: 5 }));
        assert_eq!(find("d\nd\n", "d", 1), Some(Position { line: 2, column: 1 }));
        assert_eq!((find("a", "b", 0), find("a", "a", 1)), (None, None));
    }
}
