//! Day two, the part that takes longer: roll-outs that do not work, and somebody who does not let go of an object.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each part uses some of it")]
mod house;

#[path = "daytwo/rollback.rs"]
mod a_rollback;
#[path = "daytwo/fight.rs"]
mod b_fight;

/// The values of the chart. A roll-out is watched for longer than the Lease of the driver before it still looks fresh.
const VALUES: &[&str] = &[
    "cpi-operator.rolloutSoakSeconds=20",
    "csi-operator.rolloutSoakSeconds=4",
    "cpi-operator.rolloutDeadlineSeconds=60",
    "csi-operator.rolloutDeadlineSeconds=90",
];
