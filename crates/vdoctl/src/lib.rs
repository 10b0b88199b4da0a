//! vdoctl: what a person asks VDO, on the command line.
//!
//! Start with [`args`] (what can be asked, and [`called`]: under which name) and [`run`](run::run). [`render`] shows
//! offline what an operator would apply. [`connect`] finds a cluster, [`proxy`] the way to it, [`observe`] reads it, [`seen`] sums it up, [`next`]
//! says what to do, [`screen`] draws it and [`watch`] keeps it current; [`nodes`] is the same for each node, and
//! [`plan`] says what the operators would change. [`explain`] looks a reason up, [`matrix`] says offline which release
//! fits and what is wrong with a matrix, [`release`] lets go of what no operator is left to finish, [`completion`] is for shells.
//! [`look`], [`page`], [`table`], [`terminal`] and [`progress`] are how answers are shown, [`input`] reads a file, [`bundle`] the
//! objects of one, [`yaml`] reads and writes YAML.
//!
//! **Invariant:** no rule of its own: what is rendered, chosen or explained comes from the libraries that the
//! operators run. Writes nothing to a cluster but for [`release`], which has to be meant, and prints what a Secret holds only when asked to.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod args;
pub mod bundle;
pub mod called;
pub mod completion;
pub mod connect;
pub mod explain;
pub mod input;
pub mod look;
pub mod matrix;
pub mod next;
pub mod nodes;
pub mod observe;
pub mod page;
pub mod plan;
pub mod progress;
pub mod proxy;
pub mod release;
pub mod render;
pub mod run;
pub mod screen;
pub mod seen;
pub mod table;
pub mod terminal;
pub mod version;
pub mod watch;
pub mod yaml;
