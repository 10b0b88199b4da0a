//! Where in a document something is (RFC 6901).

use std::fmt;

use crate::error::{Fault, Refusal};

/// A way from the top of a document to a part of it.
#[derive(Clone, Copy)]
pub(crate) enum Pointer<'p> {
    Root,
    Field(&'p Pointer<'p>, &'p str),
    Item(&'p Pointer<'p>, usize),
}

impl<'p> Pointer<'p> {
    pub(crate) fn field(&'p self, name: &'p str) -> Self {
        Self::Field(self, name)
    }

    pub(crate) fn item(&'p self, index: usize) -> Self {
        Self::Item(self, index)
    }

    pub(crate) fn fault(&self, fault: Fault) -> Refusal {
        Refusal::new(self.to_string(), fault)
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, name) => write!(f, "{parent}/{}", escaped(&cut(name, LONGEST_NAME))),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// How much of a name a message repeats.
pub(crate) const LONGEST_NAME: usize = 64;

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What stands between two slashes of a pointer.
pub(crate) fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// What is in a document goes into messages, and may be a megabyte long or hold control characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let mut shown: String =
        text.chars().take(longest).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_written_as_the_standard_has_it() {
        let root = Pointer::Root;
        let rows = root.field("rows");
        let row = rows.item(3);
        assert_eq!(row.field("a/b~c").to_string(), "/rows/3/a~1b~0c");
        assert_eq!((root.to_string(), unescaped("a~1b~0c")), (String::new(), "a/b~c".to_owned()));
        let long = "n".repeat(100_000);
        assert_eq!(root.field(&long).to_string().chars().count(), LONGEST_NAME + 2);
        assert_eq!(root.field("a\n\u{7}").to_string(), "/a\u{fffd}\u{fffd}");
    }
}
