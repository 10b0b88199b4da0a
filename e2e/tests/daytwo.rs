//! Day two: a cluster in use, and what happens to it. One installation with the real drivers lives through all of it.
//!
//! The chapters run in the order of their names; each begins with the same baseline and can be read, and run, alone.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
mod house;

#[path = "daytwo/upgrade.rs"]
mod a_upgrade;
#[path = "daytwo/rollback.rs"]
mod b_rollback;
#[path = "daytwo/hold.rs"]
mod c_hold;
#[path = "daytwo/drift.rs"]
mod d_drift;
#[path = "daytwo/pause.rs"]
mod e_pause;
#[path = "daytwo/leaving.rs"]
mod f_leaving;
