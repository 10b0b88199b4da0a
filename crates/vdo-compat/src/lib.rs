//! Which driver release fits this cluster, and if none does, why.
//!
//! Start at [`select()`]: it takes a [`Matrix`], the [`Cluster`] and a [`Request`] and returns a [`Selection`].
//! A matrix is [`builtin::matrix`] or the original's JSON read by [`legacy::parse`]. [`explain`] is the one
//! place that turns the result into words; conditions, events and `vdoctl` all print what it returns.
//!
//! **Invariant:** nothing here performs I/O, reads a clock or knows a Kubernetes type. The same matrix, cluster
//! and request give the same selection, whatever the order of rows or vCenters; a chosen release always fits,
//! and is never older than the installed one unless a pin names it.
#![deny(missing_docs, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod builtin;
pub mod explain;
pub mod legacy;
mod matrix;
mod range;
mod select;
mod version;

pub use matrix::{Backing, Caution, Channel, Driver, Evidence, Grade, Marks, Matrix, Rendering, Row, Source};
pub use range::{End, Line, Place, Range};
pub use select::{
    Chosen, ChosenBy, Cluster, Misfit, Movement, NoMatch, Pin, Request, Selection, Vcenter, WayOut, Why,
    misfit, select,
};
pub use version::{KubernetesVersion, Maturity, Release, Version, VersionError, VsphereVersion};
