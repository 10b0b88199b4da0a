//! What both driver operators decide in the same way: pure functions over what was seen.
//!
//! Start with [`order`] (who may act when), then [`revision`] (what is rolled out), [`journal`] (what is
//! remembered) and [`driver`] (how the two become one pass).
//!
//! **Invariant:** no client, no async, no clock, no environment: the same input gives the same bytes.

#![deny(missing_docs, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod credentials;
pub mod drift;
pub mod driver;
pub mod finding;
pub mod foreign;
pub mod journal;
pub mod object;
pub mod order;
pub mod reading;
pub mod revision;
pub mod rights;
pub mod vcenter;

pub use finding::{Finding, Verdict};
pub use object::{Object, ObjectRef};
pub use reading::Reading;
pub use revision::{Revision, Stage};
