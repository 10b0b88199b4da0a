//! Decides one pass: what was observed becomes a plan, whatever it was.

use vdo_compat::Release;
use vdo_plan::driver::{Plan, Rendered};
use vdo_plan::{Finding, Reading, Revision};

use crate::inputs::{ClusterId, Facts, Inputs, cluster_id};
use crate::judge::Judgement;
use crate::observe::Observed;
use crate::render;

/// Decides one pass. Total: every branch ends in the same `Plan`.
pub fn plan(observed: &Observed) -> Plan {
    let mut findings = Vec::new();
    let rendered = rendered(observed, &mut findings);
    Plan::new(&observed.scene, &Judgement::of(observed), findings, &rendered)
}

/// What the wanted and the fallback release render to, without what stands in the way.
pub fn render(observed: &Observed) -> Rendered {
    rendered(observed, &mut Vec::new())
}

/// The cluster id to record before anything is written that carries it. Recorded once, it never changes; while the plan
/// writes nothing, as beside somebody else's installation, nothing is recorded either.
pub fn cluster_id_to_record(observed: &Observed, plan: &Plan) -> Option<String> {
    if !observed.scene.is_first() || plan.deeds.is_empty() {
        return None;
    }
    let chosen: ClusterId = cluster_id::choose(&observed.cluster_id).ok()?;
    matches!(observed.cluster_id.recorded, Reading::Absent).then(|| chosen.value.expose().to_owned())
}

fn rendered(observed: &Observed, findings: &mut Vec<Finding>) -> Rendered {
    let releases = observed.scene.releases();
    let mut revision = |release: Option<Release>| match resolve(observed, release?)? {
        Ok((revision, advice)) => {
            add(findings, advice);
            Some(revision)
        }
        Err(obstacles) => {
            add(findings, obstacles);
            None
        }
    };
    Rendered { wanted: revision(releases.wanted), fallback: revision(releases.fallback) }
}

fn add(findings: &mut Vec<Finding>, new: Vec<Finding>) {
    for finding in new {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// A revision with what the user should know about it, or what stands in its way.
type Resolved = Result<(Revision, Vec<Finding>), Vec<Finding>>;

/// `None` when the spec names no vCenter for storage.
fn resolve(observed: &Observed, release: Release) -> Option<Resolved> {
    let facts = Facts {
        release,
        spec: &observed.scene.config.spec,
        vcenter: observed.vcenter.clone()?,
        cluster: observed.cluster.clone(),
        cluster_id: observed.cluster_id.clone(),
    };
    let render = |inputs: Inputs| {
        let revision = render::render(&inputs, &observed.scene.journal.hmac_key);
        (revision, inputs.advice)
    };
    Some(Inputs::resolve(&facts).map(render))
}
