//! JSON and YAML as one tree, which keeps what `serde_json::Value` loses: a name that comes twice. Bounded in
//! size.

mod decode;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{MessageFormatter as _, UserMessageFormatter};

pub(crate) use self::decode::decode;
use crate::error::{Error, Fault, Refusal};
use crate::places::Position;
use crate::pointer::{Pointer, cut};

/// The largest document that is read at all.
pub const MAX_BYTES: usize = 1 << 20;
/// The most rows of a matrix.
pub const MAX_ROWS: usize = 2_000;
/// A full row has some fifty values, and is then so long that a document has no room for [`MAX_ROWS`] of
/// them. The tree of as many values is some MiB.
const MAX_VALUES: usize = MAX_ROWS * 50;
/// A matrix is seven deep.
const MAX_DEPTH: usize = 32;
/// How much of what a reader says is repeated.
const LONGEST_MESSAGE: usize = 200;

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// What begins with a brace or a bracket.
    Json,
    /// Everything else.
    Yaml,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        })
    }
}

/// One value.
#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Flag(bool),
    Whole(u64),
    /// Any other number. No field of either form is one.
    Number,
    Null,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Flag(_) => "true or false",
            Self::Whole(_) | Self::Number => "a number",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// The fields in the order of the document, or the fault that there are none or that one is there twice.
    pub(crate) fn fields(&self, at: &Pointer<'_>) -> Result<&[(String, Node)], Refusal> {
        let Self::Map(fields) = self else { return Err(self.wrong_kind(at, "an object")) };
        let mut seen = BTreeSet::new();
        match fields.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(at.field(name).fault(Fault::Duplicate)),
            None => Ok(fields),
        }
    }

    pub(crate) fn wrong_kind(&self, at: &Pointer<'_>, expected: &'static str) -> Refusal {
        at.fault(Fault::WrongKind { found: self.kind(), expected })
    }
}

/// Without the mark that some editors put at the front.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads one value and nothing after it.
pub(crate) fn read(text: &str) -> Result<Node, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge { bytes: text.len() });
    }
    let text = without_mark(text);
    let budget = Budget { left: Cell::new(MAX_VALUES) };
    let node = match text.trim_start().chars().next() {
        None => return Err(Error::Empty),
        Some('{' | '[') => read_json(text, &budget),
        Some(_) => read_yaml(text, &budget),
    };
    match node {
        Err(_) if budget.left.get() == 0 => Err(Error::TooManyRows),
        // So is a YAML of comments only.
        Ok(Node::Null) => Err(Error::Empty),
        node => node,
    }
}

fn read_json(text: &str, budget: &Budget) -> Result<Node, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = budget.deserialize(&mut json).and_then(|node| json.end().map(|()| node));
    read.map_err(|fault| {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let position = Position { line: count(fault.line()), column: count(fault.column()) };
        let words = fault.to_string();
        let tail = format!(" at line {} column {}", position.line, position.column);
        let message = cut(words.strip_suffix(&tail).unwrap_or(&words), LONGEST_MESSAGE);
        Error::Syntax { syntax: Syntax::Json, position: (position.line > 0).then_some(position), message }
    })
}

/// How YAML is read. Anchors, aliases, merge keys and tags are refused: a matrix needs none, and they are
/// what makes a short text long.
pub(crate) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // Names count, too.
            max_nodes: 2 * MAX_VALUES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
            max_anchors: 0,
            max_aliases: 0,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn read_yaml(text: &str, budget: &Budget) -> Result<Node, Error> {
    let read = |yaml: serde_saphyr::Deserializer<'_, '_>| budget.deserialize(yaml);
    serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), read)
        .map_err(|fault| of_yaml(&fault))
}

fn of_yaml(fault: &serde_saphyr::Error) -> Error {
    let position = fault.location().map(|it| Position::of(&it));
    let message = match breach(fault) {
        Some(BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }) => {
            "a matrix has no anchors and no aliases, write out each value".to_owned()
        }
        Some(BudgetBreach::Depth { .. }) => "a matrix is not nested so deep".to_owned(),
        Some(BudgetBreach::Documents { .. }) => "a matrix is one document, and another one begins".to_owned(),
        Some(_) => return Error::TooManyRows,
        None if matches!(fault, serde_saphyr::Error::MergeKeyNotAllowed { .. }) => {
            "a matrix has no merge keys, write out each value".to_owned()
        }
        None => cut(&UserMessageFormatter.format_message(fault), LONGEST_MESSAGE),
    };
    Error::Syntax { syntax: Syntax::Yaml, position, message }
}

fn breach(fault: &serde_saphyr::Error) -> Option<&BudgetBreach> {
    if let serde_saphyr::Error::Budget { breach, .. } = fault { Some(breach) } else { None }
}

/// How many more values are read.
struct Budget {
    left: Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) if left > 0 => self.left.set(left),
            Some(_) | None => {
                self.left.set(0);
                return Err(D::Error::custom("too many values"));
            }
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(u64::try_from(number).map_or(Node::Number, Node::Whole))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Whole(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            fields.push((name, map.next_value_seed(self)?));
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests;
