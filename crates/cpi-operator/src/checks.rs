//! What a user should know before anything is written; each check sees everything, and the worst decides.

use vdo_plan::Finding;
use vdo_plan::foreign::foreign;

use crate::inputs::reasons;
use crate::observe::Observed;

/// Runs every check.
pub fn run(observed: &Observed) -> Vec<Finding> {
    [nobody_else_manages_the_cloud_provider, every_node_is_a_known_machine]
        .into_iter()
        .filter_map(|check| check(observed))
        .collect()
}

fn nobody_else_manages_the_cloud_provider(observed: &Observed) -> Option<Finding> {
    foreign("CPI", observed.traces.as_ref()?)
}

fn every_node_is_a_known_machine(observed: &Observed) -> Option<Finding> {
    let nodes = observed.scene.config.status.as_ref()?.nodes.as_ref()?;
    (nodes.foreign > 0 && observed.scene.config.spec.wants_cpi()).then(|| {
        Finding::advise(
            &reasons::NODES_OUTSIDE_VSPHERE,
            format!(
                "{} of {} nodes are no machines of the listed vCenters, so CPI never deletes a node",
                nodes.foreign, nodes.expected
            ),
        )
    })
}
