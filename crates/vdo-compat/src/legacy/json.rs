//! JSON as a tree that keeps what `serde_json::Value` loses: a name that comes twice, and a bound on its size.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{LegacyError, MAX_ENTRIES};

/// A full matrix has some forty values an entry. The tree of as many is a few MiB.
const MAX_VALUES: usize = MAX_ENTRIES * 50;

/// The fields of an object in the order of the document.
pub(super) type Fields = [(String, Node)];

/// One value. Numbers are not kept: no field of the format is one.
pub(super) enum Node {
    Text(String),
    Flag(bool),
    Number,
    Null,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Flag(_) => "true or false",
            Self::Number => "a number",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// Reads one value and nothing after it.
pub(super) fn read(text: &str) -> Result<Node, LegacyError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(LegacyError::Empty);
    }
    let budget = Budget { left: Cell::new(MAX_VALUES) };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = budget.deserialize(&mut json).and_then(|node| json.end().map(|()| node));
    read.map_err(|fault| match budget.left.get() {
        0 => LegacyError::TooManyEntries,
        _ => LegacyError::Syntax { message: fault.to_string() },
    })
}

/// How many more values are read. Nesting is bounded by the reader itself.
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
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Number)
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
