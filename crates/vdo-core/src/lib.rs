//! vdo-core: verifies vCenters, chooses releases, publishes the gates and sums up.
//!
//! Start with [`pass`] (the five steps and the loop around them). [`vcenter`] verifies each VsphereCloudConfig:
//! `due` decides what to do next, `check` does it, `verdict` turns what came of it into status. [`order`] works on
//! the active VDOConfig: `matrix` and `choose` pick the releases, `nodes` joins Nodes with machines, `gates` says
//! what may be rolled out now and `sum` writes the conditions. [`sources`] fetches a matrix that is at an address. [`configs`] tells which VDOConfig that is, [`strays`] what
//! the objects are told that cannot count, [`announce`] which change is worth an event. [`observe`], [`pass`] and
//! `vcenter::check` and `sources::fetch` touch the world; the rest is pure.
//!
//! **Invariant:** installs no driver and writes nothing but status and the copy of a fetched matrix. A password is sent at most once for a Secret
//! version and a server until vCenter has accepted it, and only after status says that it is about to be.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod announce;
pub mod args;
pub mod configs;
pub mod metrics;
pub mod observe;
pub mod order;
pub mod pass;
pub mod reasons;
pub mod sources;
pub mod strays;
pub mod vcenter;
