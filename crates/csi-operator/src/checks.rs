//! What a user should know before anything is written; each check sees everything, and the worst decides.

use vdo_plan::Finding;
use vdo_plan::foreign::foreign;

use crate::observe::Observed;

/// Runs every check.
pub fn run(observed: &Observed) -> Vec<Finding> {
    nobody_else_manages_the_storage_driver(observed).into_iter().collect()
}

fn nobody_else_manages_the_storage_driver(observed: &Observed) -> Option<Finding> {
    foreign("CSI", observed.traces.as_ref()?)
}
