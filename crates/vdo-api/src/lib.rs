//! The API of VDO: three kinds, their status, conditions, reasons and the names that operators share.
//!
//! Start with [`vdoconfig`] (what a user asks for), then [`status`] (what the operators answer) and
//! [`vcenter`] (one vCenter and how far it is trusted). [`names`] holds every label, annotation,
//! finalizer and field manager.
//!
//! **Invariant:** no client, no async and no I/O: this crate describes, it never acts. Fields only grow;
//! the ones of the original operator keep their odd names.

#![deny(missing_docs, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
// Printer columns repeat the keys of their attribute; the lint takes each repetition for a slip.
#![allow(clippy::duplicated_attributes)]

pub mod compatibility;
pub mod condition;
pub mod crd;
pub mod names;
pub mod reason;
mod rule;
pub mod status;
pub mod vcenter;
pub mod vdoconfig;

pub use compatibility::{CompatibilityConfig, CompatibilityConfigSpec};
pub use condition::{Condition, Truth};
pub use reason::Reason;
pub use status::VDOConfigStatus;
pub use vcenter::{VsphereCloudConfig, VsphereCloudConfigSpec, VsphereCloudConfigStatus};
pub use vdoconfig::{VDOConfig, VDOConfigSpec};
