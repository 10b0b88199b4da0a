//! What a user should know of the cloud provider; each check sees everything, and the worst decides.

use vdo_plan::Finding;

use crate::inputs::reasons;
use crate::observe::Observed;

/// Runs every check.
pub fn run(observed: &Observed) -> Vec<Finding> {
    every_node_is_a_known_machine(observed).into_iter().collect()
}

fn every_node_is_a_known_machine(observed: &Observed) -> Option<Finding> {
    let nodes = observed.scene.config.status.as_ref()?.nodes.as_ref()?;
    (nodes.foreign > 0 && observed.scene.config.spec.wants_cpi()).then(|| {
        Finding::advise(
            &reasons::NODES_OUTSIDE_VSPHERE,
            format!(
                "for {} of {} nodes the vCenters of spec.cloudProvider have no machine, so CPI never deletes a node; \
                 add the vCenter that holds them, unless they are meant to be elsewhere",
                nodes.foreign, nodes.expected
            ),
        )
    })
}
