//! Decides one pass: what was observed becomes a plan, whatever it was.

use vdo_compat::Release;
use vdo_plan::driver::{Plan, Rendered};
use vdo_plan::{Finding, Revision};

use crate::checks;
use crate::inputs::{Facts, Inputs, NodeDeletion};
use crate::observe::Observed;
use crate::render;
use crate::stages::Judgement;

/// Decides one pass. Total: every branch ends in the same `Plan`.
pub fn plan(observed: &Observed) -> Plan {
    let mut findings = checks::run(observed);
    let rendered = rendered(observed, &mut findings);
    Plan::new(&observed.scene, &Judgement::of(observed), findings, &rendered)
}

/// What the wanted and the fallback release render to, without what stands in the way.
pub fn render(observed: &Observed) -> Rendered {
    rendered(observed, &mut Vec::new())
}

fn rendered(observed: &Observed, findings: &mut Vec<Finding>) -> Rendered {
    let releases = observed.scene.releases();
    let mut revision = |release: Option<Release>| match resolve(observed, release?) {
        Ok(revision) => Some(revision),
        Err(obstacles) => {
            findings.extend(obstacles.into_iter().filter(|new| !findings.contains(new)).collect::<Vec<_>>());
            None
        }
    };
    Rendered { wanted: revision(releases.wanted), fallback: revision(releases.fallback) }
}

fn resolve(observed: &Observed, release: Release) -> Result<Revision, Vec<Finding>> {
    let facts = Facts {
        spec: &observed.scene.config.spec,
        vcenters: &observed.vcenters,
        node_deletion: node_deletion(observed),
    };
    let inputs = Inputs::resolve(release, &facts)?;
    Ok(render::render(&inputs, &observed.scene.journal.hmac_key))
}

/// Once switched off it stays off for what is installed: a node that comes and goes must not roll the driver.
fn node_deletion(observed: &Observed) -> NodeDeletion {
    let status = observed.scene.config.status.as_ref();
    let foreign = status.and_then(|s| s.nodes.as_ref()).is_some_and(|nodes| nodes.foreign > 0);
    let journal = &observed.scene.journal;
    let mut kept = journal.revisions.values();
    if foreign || kept.any(render::skips_node_deletion) { NodeDeletion::Off } else { NodeDeletion::Allowed }
}
