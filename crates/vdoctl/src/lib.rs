//! vdoctl: what a person asks VDO, on the command line.
//!
//! Start with [`args`] (what can be asked) and [`run`](run::run). [`render`] shows offline what an operator would
//! apply, [`observe`] reads a cluster, [`seen`] sums it up, [`next`] says what to do and [`screen`] draws it,
//! [`explain`] looks a reason up, [`release`] lets go of what no operator is left to finish. [`bundle`] reads the objects of a file, [`yaml`] reads and writes YAML.
//!
//! **Invariant:** no rule of its own: what is rendered, chosen or explained comes from the libraries that the
//! operators run. Writes nothing to a cluster but for [`release`], which has to be meant, and prints what a Secret holds only when asked to.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod args;
pub mod bundle;
pub mod explain;
pub mod next;
pub mod observe;
pub mod release;
pub mod render;
pub mod run;
pub mod screen;
pub mod seen;
pub mod version;
pub mod yaml;
