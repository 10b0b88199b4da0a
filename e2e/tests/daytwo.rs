//! Day two: a cluster in use, and what happens to it. One installation with the real drivers lives through all of it.
//!
//! The chapters run in the order of their names; each begins with the same baseline and can be read, and run, alone.
//! `rollback.rs` and `mishaps.rs` are further parts of it that take CI too long.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each part uses some of it")]
mod house;
#[path = "daytwo/volumes.rs"]
mod volumes;

#[path = "daytwo/upgrade.rs"]
mod a_upgrade;
#[path = "daytwo/hold.rs"]
mod c_hold;
#[path = "daytwo/drift.rs"]
mod d_drift;
#[path = "daytwo/pause.rs"]
mod e_pause;
#[path = "daytwo/leaving.rs"]
mod f_leaving;

/// The values of the chart.
const VALUES: &[&str] = &[
    "cpi-operator.rolloutSoakSeconds=4",
    "csi-operator.rolloutSoakSeconds=4",
    "cpi-operator.rolloutDeadlineSeconds=90",
    "csi-operator.rolloutDeadlineSeconds=90",
];
