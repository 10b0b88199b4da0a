//! cpi-operator: installs, watches, upgrades and removes the vSphere cloud provider (CPI).
//!
//! [`inputs`] turns the spec and verified facts into checked values, [`render`] turns those into a revision,
//! [`plan`] decides one pass. [`observe`] and [`pass`] are the shell around them; what both driver operators decide in
//! the same way is in `vdo-plan::driver`, and how they go about it in `vdo-runtime::driver`.
//!
//! **Invariant:** touches no object of CSI or of a pod network, and chooses no release.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod args;
pub mod checks;
pub mod inputs;
pub mod observe;
pub mod pass;
pub mod plan;
pub mod releases;
pub mod render;
pub mod stages;
