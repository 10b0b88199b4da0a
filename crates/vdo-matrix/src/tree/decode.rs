//! The types of a document, read out of the tree. serde knows their fields; this knows the place of each.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Node;
use crate::error::{Fault, Refusal};
use crate::pointer::{LONGEST_NAME, Pointer, cut};

/// The value, and the pointers of the fields that it has no use for.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node) -> Result<(T, Vec<String>), Refusal> {
    let unknown = RefCell::default();
    let value = T::deserialize(Decoder { node, at: Pointer::Root, unknown: &unknown })?;
    Ok((value, unknown.into_inner()))
}

#[derive(Clone, Copy)]
struct Decoder<'p> {
    node: &'p Node,
    at: Pointer<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl Decoder<'_> {
    fn wrong(&self, expected: &'static str) -> Refusal {
        self.node.wrong_kind(&self.at, expected)
    }
}

impl Error for Refusal {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::somewhere(Fault::Unread(cut(&words.to_string(), LONGEST_NAME)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::somewhere(Fault::Missing(field))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::somewhere(Fault::UnknownWord { found: cut(variant, LONGEST_NAME), expected })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.node {
            Node::Text(_) => self.deserialize_str(visitor),
            Node::Flag(_) => self.deserialize_bool(visitor),
            Node::Whole(_) => self.deserialize_u64(visitor),
            Node::List(_) => self.deserialize_seq(visitor),
            Node::Map(_) => self.deserialize_map(visitor),
            Node::Number | Node::Null => Err(self.wrong("another value")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Node::Flag(flag) = self.node else { return Err(self.wrong("true or false")) };
        visitor.visit_bool(*flag).map_err(|refusal: Refusal| refusal.or_at(&self.at))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Node::Whole(number) = self.node else { return Err(self.wrong("a whole number")) };
        visitor.visit_u64(*number).map_err(|refusal: Refusal| refusal.or_at(&self.at))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Node::Text(text) = self.node else { return Err(self.wrong("a text in quotes")) };
        visitor.visit_str(text).map_err(|refusal: Refusal| refusal.or_at(&self.at))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    /// A field is left out, or it says something.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Node::List(items) = self.node else { return Err(self.wrong("a list")) };
        let items = Items { items: items.iter().enumerate(), at: &self.at, unknown: self.unknown };
        visitor.visit_seq(items).map_err(|refusal| refusal.or_at(&self.at))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let fields = self.node.fields(&self.at)?;
        let fields = Fields { fields: fields.iter(), value: None, at: &self.at, unknown: self.unknown };
        visitor.visit_map(fields).map_err(|refusal| refusal.or_at(&self.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let Node::Text(text) = self.node else { return Err(self.wrong("a text")) };
        let word: StrDeserializer<'_, Refusal> = text.as_str().into_deserializer();
        visitor.visit_enum(word).map_err(|refusal| refusal.or_at(&self.at))
    }

    /// Only a field that the type does not have is ignored.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.unknown.borrow_mut().push(self.at.to_string());
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct identifier
    }
}

struct Fields<'p> {
    fields: std::slice::Iter<'p, (String, Node)>,
    value: Option<(&'p str, &'p Node)>,
    at: &'p Pointer<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((name, node)) = self.fields.next() else { return Ok(None) };
        self.value = Some((name, node));
        let name: StrDeserializer<'_, Refusal> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let (name, node) = self.value.take().expect("a value is asked for after its name");
        seed.deserialize(Decoder { node, at: self.at.field(name), unknown: self.unknown })
    }
}

struct Items<'p> {
    items: std::iter::Enumerate<std::slice::Iter<'p, Node>>,
    at: &'p Pointer<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder { node, at: self.at.item(index), unknown: self.unknown }).map(Some)
    }
}
