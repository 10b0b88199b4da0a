//! Which driver release fits this cluster, and if none does, why.
//!
//! Start at [`select()`]: it takes a [`Matrix`], the [`Cluster`] and a [`Request`] and returns a [`Selection`].
//! A matrix is [`builtin::matrix`], or a document that `vdo-matrix` read. [`explain`] is the one place that turns
//! the result into words; conditions, events and `vdoctl` all print what it returns.
//!
//! **Invariant:** nothing here performs I/O, reads a clock or knows a Kubernetes type. The same matrix, cluster
//! and request give the same selection, whatever the order of rows or vCenters; a chosen release always fits,
//! and is never older than the installed one unless a pin leaves that one out and the request allows to go back.
#![deny(missing_docs, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
pub mod builtin;
mod cluster;
pub mod explain;
mod matrix;
mod range;
mod select;
pub mod upgrade;
mod version;

pub use answer::{Change, Chosen, ChosenBy, Misfit, NoMatch, Outside, Selection, WayOut, Why};
pub use cluster::{Cluster, Vcenter};
pub use matrix::{
    Bound, Bounds, Caution, Channel, Driver, Evidence, Grade, Marks, Matrix, Rendering, Row, Source,
    short_digest,
};
pub use range::{End, Line, Place, Range};
pub use select::{Downgrade, Movement, Pin, Request, misfit, outside_of_recommended, select};
pub use version::{Found, KubernetesVersion, Maturity, Release, Version, VersionError, VsphereVersion};
