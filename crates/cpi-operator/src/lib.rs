//! cpi-operator: installs, watches, upgrades and removes the vSphere cloud provider (CPI).
//!
//! [`inputs`] turns the spec and verified facts into checked values, [`render`] turns those into a revision,
//! and the shell around them follows the plan that both driver operators share (`vdo-plan::driver`).
//!
//! **Invariant:** touches no object of CSI or of a pod network, and chooses no release.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod inputs;
pub mod releases;
pub mod render;
