//! On which line each part of a document stands.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::pointer::unescaped;
use crate::tree::{MAX_BYTES, without_mark, yaml_options};

/// A place in a text, both numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character in it.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    pub(crate) fn of(location: &serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// The place of each part of a document. A field stands where its name does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Option<Part>);

impl Places {
    /// Those of JSON or YAML. None, if the text is neither, or no matrix is that large.
    pub fn of(text: &str) -> Self {
        if text.len() > MAX_BYTES {
            return Self::default();
        }
        // JSON may be indented with tabs, YAML may not; within a text JSON has none.
        let text = without_mark(text).replace('\t', " ");
        Self(serde_saphyr::from_str_with_options(&text, yaml_options()).ok())
    }

    /// Where the part with this JSON pointer (RFC 6901) stands, or the nearest that it is a part of.
    pub fn at(&self, pointer: &str) -> Option<Position> {
        let mut here = self.0.as_ref()?;
        for name in pointer.split('/').skip(1).map(unescaped) {
            match here.tree.part(&name) {
                Some(part) => here = part,
                None => break,
            }
        }
        Some(Position { line: here.line.into(), column: here.column.into() })
    }
}

/// A part and its place. There may be a hundred thousand, so it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    line: u32,
    column: u32,
    tree: Tree,
}

impl Part {
    fn new(at: &serde_saphyr::Location, tree: Tree) -> Self {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: small(at.line()), column: small(at.column()), tree }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Tree>::deserialize(deserializer).map(|it| Self::new(&it.referenced, it.value))
    }
}

/// Only what leads to places.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    Leaf,
    List(Box<[Part]>),
    Map(Box<[(Box<str>, Part)]>),
}

impl Tree {
    fn part(&self, name: &str) -> Option<&Part> {
        match self {
            Self::Leaf => None,
            Self::List(items) => items.get(name.parse::<usize>().ok()?),
            // The last of two with one name: the second is the one too many.
            Self::Map(fields) => fields.iter().rev().find(|(own, _)| **own == *name).map(|(_, part)| part),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            let tree = map.next_value::<Tree>()?;
            fields.push((name.value.into(), Part::new(&name.referenced, tree)));
        }
        Ok(Tree::Map(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, pointer: &str) -> Option<(u64, u64)> {
        Places::of(text).at(pointer).map(|it| (it.line, it.column))
    }

    #[test]
    fn a_part_stands_where_its_name_does_and_an_item_where_it_begins() {
        let json = "{\n\t\"CSI\": {\n\t\t\"3.7.0\": {\"deploymentPath\": [\"a\",\n \"b\"]}\n}}";
        assert_eq!(at(json, "/CSI"), Some((2, 2)));
        assert_eq!(at(json, "/CSI/3.7.0"), Some((3, 3)));
        assert_eq!(at(json, "/CSI/3.7.0/deploymentPath/1"), Some((4, 2)));
        assert_eq!(at("rows:\n- driver: CPI\n  a/b: 1\n", "/rows/0/a~1b"), Some((3, 3)));
    }

    #[test]
    fn what_has_no_place_stands_where_its_parent_does() {
        assert_eq!(at("{\"CSI\": {}}", "/CSI/3.7.0/k8s/max"), Some((1, 2)));
        assert_eq!(at("{\"CSI\": {}}", ""), Some((1, 1)));
        assert_eq!(at("{\"CSI\": ", "/CSI"), None);
        assert_eq!(at("{\"a\": 1,\n\"a\": 2}", "/a"), Some((2, 1)));
        assert_eq!(at("\u{feff}a:\n- b\n", "/a/7/c"), Some((1, 1)));
        assert_eq!(at("a: &x 1\n", "/a"), None);
    }
}
