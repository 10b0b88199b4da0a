//! Compatibility matrices as documents: read, written, looked through.
//!
//! Start at [`parse()`]: it takes a text of our own form (module `document`) or of the original's (module
//! `legacy`), in YAML or JSON, and gives the [`vdo_compat::Matrix`] that selection reads, or an [`Error`]
//! with the place of the fault. [`write()`] is the way back, [`schema()`] the form for editors. [`lint()`]
//! tells what is wrong with a matrix that can be read, with the line of each [`Finding`]; [`rule`] is the
//! catalogue of what it looks for, which the docs and `vdoctl` print, and [`known`] the facts that a rule
//! judges by. [`objects()`] reads the manifests that a matrix names.
//!
//! **Invariant:** nothing here performs I/O or reads a clock. A text of any length and any content is read or
//! refused within a bounded time and memory, and the same text gives the same answer.
#![deny(missing_docs, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod document;
mod error;
pub mod known;
mod legacy;
pub mod lint;
mod objects;
mod parse;
pub mod places;
mod pointer;
pub mod rule;
mod span;
mod tree;

pub use document::{
    MAX_ADDRESS, MAX_CAUTIONS, MAX_IMAGES, MAX_SENTENCE, SCHEMA_VERSION, schema, to_json, write,
};
pub use error::{Error, Fault};
pub use lint::{Finding, Linted, lint};
pub use objects::objects;
pub use parse::{Form, Note, Parsed, Remark, parse};
pub use places::Position;
pub use rule::{Level, Rule};
pub use tree::{MAX_BYTES, MAX_ROWS, Syntax};
