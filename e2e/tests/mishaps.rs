//! Day two, what should not happen and does: two things at once, and what is deleted by mistake.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each part uses some of it")]
mod house;
#[path = "daytwo/volumes.rs"]
#[allow(dead_code, reason = "each part uses some of it")]
mod volumes;

#[path = "daytwo/rotation.rs"]
mod a_rotation;
#[path = "daytwo/race.rs"]
mod b_race;
#[path = "daytwo/rebuilt.rs"]
mod c_rebuilt;
#[path = "daytwo/mistakes.rs"]
mod d_mistakes;
#[path = "daytwo/newer.rs"]
mod e_newer;

/// The values of the chart.
const VALUES: &[&str] = &[
    "cpi-operator.rolloutSoakSeconds=4",
    "csi-operator.rolloutSoakSeconds=4",
    "cpi-operator.rolloutDeadlineSeconds=90",
    "csi-operator.rolloutDeadlineSeconds=90",
];
